package chicory;

import com.dylibso.chicory.compiler.MachineFactoryCompiler;
import com.dylibso.chicory.runtime.Machine;
import com.dylibso.chicory.runtime.Memory;
import com.dylibso.chicory.wasm.ChicoryException;
import com.dylibso.chicory.wasm.Parser;
import com.dylibso.chicory.wasm.UnlinkableException;
import com.dylibso.chicory.wasm.WasmModule;
import com.dylibso.chicory.wasm.types.ValType;
import com.dylibso.chicory.wasm.types.Value;
import java.io.IOException;
import java.util.ArrayList;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.function.Function;
import java.util.function.Supplier;
import protocol.Instance;
import protocol.Protocol;
import protocol.RejectException;
import protocol.TrapException;

/** Adapter for Chicory, by its interpreter or its compiler. */
final class Adapter implements Instance {
    private static final Map<String, String> TRAPS = Map.of(
            "unreachable", "unreachable", "out of bounds memory access", "out-of-bounds",
            "integer", "integer", "call stack exhausted", "stack");

    private final com.dylibso.chicory.runtime.Instance instance;

    private Adapter(com.dylibso.chicory.runtime.Instance instance) {
        this.instance = instance;
    }

    public static void main(String[] arguments) throws IOException {
        var isCompiler = List.of(arguments).contains("--compiler");
        Protocol.serve(
                isCompiler ? "chicory-compiler" : "chicory-interpreter", "chicory", List.of("externref", "grow", "resume-after-trap"), binary -> compile(binary, isCompiler));
    }

    private static Supplier<Instance> compile(byte[] binary, boolean isCompiler) {
        try {
            WasmModule module = Parser.parse(binary);
            var machine = isCompiler ? MachineFactoryCompiler.compile(module) : null;
            return () -> instantiate(module, machine);
        } catch (ChicoryException | StackOverflowError failure) {
            throw new RejectException("compile", failure);
        }
    }

    private static Adapter instantiate(
            WasmModule module, Function<com.dylibso.chicory.runtime.Instance, Machine> machine) {
        try {
            var builder = com.dylibso.chicory.runtime.Instance.builder(module).withStart(false);
            if (machine != null) {
                builder.withMachineFactory(machine);
            }
            return new Adapter(builder.build().initialize(true));
        } catch (UnlinkableException unlinkable) {
            throw new RejectException("link", unlinkable);
        } catch (ChicoryException | StackOverflowError failure) {
            throw new RejectException("start", failure);
        }
    }

    @Override
    public List<String> call(String name, List<String> arguments) {
        var type = instance.exportType(name);
        var kinds = type.params();
        if (kinds.size() != arguments.size()) {
            throw new IllegalArgumentException("`" + name + "` takes " + kinds);
        }
        var numbers = new long[kinds.size()];
        for (var i = 0; i < numbers.length; i++) {
            numbers[i] = Protocol.parse(name(kinds.get(i)), arguments.get(i));
        }
        try {
            var results = instance.export(name).apply(numbers);
            var values = new ArrayList<String>();
            for (var kind : type.returns()) {
                values.add(Protocol.show(name(kind), results[values.size()]));
            }
            return values;
        } catch (ChicoryException | StackOverflowError failure) {
            var message = failure instanceof StackOverflowError ? "call stack exhausted" : failure.getMessage();
            var trap = TRAPS.keySet().stream().filter(message::contains).findFirst();
            throw new TrapException(trap.map(TRAPS::get).orElse("other"), message);
        }
    }

    @Override
    public int pages() {
        return memory().pages();
    }

    @Override
    public int grow(int pages) {
        return memory().grow(pages);
    }

    @Override
    public byte[] read(long address, int length) {
        return memory().readBytes((int) address, length);
    }

    @Override
    public void write(long address, byte[] bytes) {
        memory().write((int) address, bytes);
    }

    @Override
    public String global(String name) {
        var global = instance.exports().global(name);
        if (global.getType().equals(ValType.ExternRef) && (int) global.getValue() == Value.REF_NULL_VALUE) {
            return "externref:null";
        }
        return Protocol.show(name(global.getType()), global.getValue());
    }

    private Memory memory() {
        return instance.exports().memory("memory");
    }

    private static String name(ValType type) {
        return type.name().toLowerCase(Locale.ROOT);
    }
}

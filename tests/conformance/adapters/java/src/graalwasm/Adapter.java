package graalwasm;

import java.io.IOException;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.regex.Pattern;
import org.graalvm.polyglot.Context;
import org.graalvm.polyglot.Engine;
import org.graalvm.polyglot.PolyglotException;
import org.graalvm.polyglot.Value;
import org.graalvm.polyglot.proxy.ProxyObject;
import protocol.Instance;
import protocol.Protocol;
import protocol.RejectException;
import protocol.TrapException;

/** Adapter for GraalWasm; on a Java without the Graal compiler it interprets. */
final class Adapter implements Instance {
    private static final Map<String, String> TRAPS = Map.of(
            "unreachable", "unreachable", "out of bounds", "out-of-bounds", "out-of-bounds", "out-of-bounds",
            "integer", "integer", "divide by zero", "integer", "call stack exhausted", "stack");
    private static final Pattern TYPE = Pattern.compile("\\d+\\(([^)]*)\\)(.*)");

    private final Context context;
    private final Value api;
    private final Value instance;

    private Adapter(Engine engine, byte[] binary) {
        context = Context.newBuilder("wasm").engine(engine).allowAllAccess(true).build();
        var stage = "compile";
        try {
            context.initialize("wasm");
            api = context.getPolyglotBindings().getMember("WebAssembly");
            var module = invoke("module_decode", (Object) binary);
            stage = "link";
            instance = invoke("module_instantiate", module, ProxyObject.fromMap(Map.of()));
        } catch (PolyglotException failure) {
            context.close(true);
            var isTrap = TRAPS.containsKey(String.valueOf(failure.getMessage()));
            throw new RejectException(isTrap ? "start" : stage, failure);
        }
    }

    public static void main(String[] arguments) throws IOException {
        var engine = Engine.newBuilder("wasm").option("engine.WarnInterpreterOnly", "false").build();
        Protocol.serve(
                "graalwasm", "graalwasm", List.of("externref", "grow", "resume-after-trap"), binary -> () -> new Adapter(engine, binary));
    }

    @Override
    public List<String> call(String name, List<String> arguments) {
        var function = export(name);
        // The type as GraalWasm writes it: `3(i32 i64)i64`, with the function's index before it.
        var type = TYPE.matcher(invoke("func_type", function).asString());
        if (!type.matches()) {
            throw new IllegalArgumentException("`" + name + "` is no function");
        }
        var kinds = split(type.group(1));
        if (kinds.size() != arguments.size()) {
            throw new IllegalArgumentException("`" + name + "` takes " + kinds);
        }
        var values = new Object[kinds.size()];
        for (var i = 0; i < values.length; i++) {
            var bits = Protocol.parse(kinds.get(i), arguments.get(i));
            values[i] = switch (kinds.get(i)) {
                case "i32" -> (int) bits;
                case "f32" -> Float.intBitsToFloat((int) bits);
                case "f64" -> Double.longBitsToDouble(bits);
                default -> bits;
            };
        }
        Value result;
        try {
            result = function.execute(values);
        } catch (PolyglotException failure) {
            throw trap(failure);
        }
        var results = new ArrayList<String>();
        for (var kind : split(type.group(2))) {
            results.add(show(kind, result.hasArrayElements() ? result.getArrayElement(results.size()) : result));
        }
        return results;
    }

    @Override
    public int pages() {
        return (int) (export("memory").getBufferSize() >> 16);
    }

    @Override
    public int grow(int pages) {
        try {
            return invoke("mem_grow", export("memory"), pages).asInt();
        } catch (PolyglotException refused) {
            return -1;
        }
    }

    @Override
    public byte[] read(long address, int length) {
        var bytes = new byte[length];
        export("memory").readBuffer(address, bytes, 0, length);
        return bytes;
    }

    @Override
    public void write(long address, byte[] bytes) {
        var memory = export("memory");
        for (var i = 0; i < bytes.length; i++) {
            memory.writeBufferByte(address + i, bytes[i]);
        }
    }

    @Override
    public String global(String name) {
        var value = invoke("global_read", export(name));
        if (value.isNull()) {
            return "externref:null";
        }
        // The value does not tell its type, but Java's classes do.
        var kind = switch (value.as(Object.class).getClass().getSimpleName()) {
            case "Integer" -> "i32";
            case "Long" -> "i64";
            case "Float" -> "f32";
            case "Double" -> "f64";
            default -> "externref";
        };
        return show(kind, value);
    }

    @Override
    public void drop() {
        context.close(true);
    }

    private Value invoke(String function, Object... arguments) {
        return api.getMember(function).execute(arguments);
    }

    private Value export(String name) {
        var export = invoke("instance_export", instance, name);
        if (export.isNull()) {
            throw new IllegalArgumentException("no export `" + name + "`");
        }
        return export;
    }

    private String show(String kind, Value value) {
        return Protocol.show(kind, switch (kind) {
            case "i32" -> value.asInt();
            case "i64" -> value.asLong();
            case "f32" -> Float.floatToRawIntBits(value.asFloat());
            case "f64" -> Double.doubleToRawLongBits(value.asDouble());
            default -> 0;
        });
    }

    private static List<String> split(String types) {
        return types.isBlank() ? List.of() : List.of(types.strip().split("[ ,]+"));
    }

    private static RuntimeException trap(PolyglotException failure) {
        var message = String.valueOf(failure.getMessage());
        if (!failure.isGuestException() && !failure.isResourceExhausted()) {
            return new IllegalStateException(message, failure);
        }
        var kind = TRAPS.keySet().stream().filter(message::contains).findFirst().map(TRAPS::get);
        return new TrapException(kind.orElse(failure.isResourceExhausted() ? "stack" : "other"), message);
    }
}

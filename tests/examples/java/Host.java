import com.dylibso.chicory.runtime.ExportFunction;
import com.dylibso.chicory.runtime.ImportFunction;
import com.dylibso.chicory.runtime.ImportValues;
import com.dylibso.chicory.runtime.Instance;
import com.dylibso.chicory.runtime.Memory;
import com.dylibso.chicory.wasm.ChicoryException;
import com.dylibso.chicory.wasm.Parser;
import com.dylibso.chicory.wasm.types.ExternalType;
import java.io.BufferedInputStream;
import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;

/**
 * A host for the kernel in one file, on Chicory: what a port to another runtime has to do.
 *
 * <pre>java -cp ... Host KERNEL PLUGIN FUNCTION &lt; INPUTS</pre>
 *
 * Each line of standard input is the input of one call; an empty line is an empty input. Answers go to
 * standard output, one a line, errors to standard error. The exit code is 0 if every call answered,
 * 1 if one failed, 2 for a wrong command line or a module that cannot be loaded.
 */
public final class Host {
    /** A call that gave no answer; the message says why. */
    private static final class CallException extends Exception {
        private static final long serialVersionUID = 1;

        CallException(String message, Throwable cause) {
            super(message, cause);
        }
    }

    private final Instance kernel;
    private final ExportFunction entry;

    private Host(byte[] kernelBytes, byte[] pluginBytes, String function) throws CallException {
        var module = Parser.parse(kernelBytes);
        kernel = Instance.builder(module).build();
        // Guests get the kernel's functions, not its memory: what they store goes through its checks.
        var imports = ImportValues.builder();
        for (var i = 0; i < module.exportSection().exportCount(); i++) {
            var export = module.exportSection().getExport(i);
            if (export.exportType() == ExternalType.FUNCTION) {
                var name = export.name();
                var callee = kernel.export(name);
                imports.addFunction(new ImportFunction(
                        "extism:host/env", name, kernel.exportType(name), (guest, numbers) -> callee.apply(numbers)));
            }
        }
        var plugin = Parser.parse(pluginBytes);
        var guest = Instance.builder(plugin).withImportValues(imports.build()).build();
        entry = guest.export(function); // throws where there is none
        if (!guest.exportType(function).params().isEmpty()) {
            throw new CallException("no export `" + function + "` of type () -> i32", null);
        }
    }

    /** Calls an export of the kernel and returns its result, or 0 if it has none. Numbers are unsigned. */
    private long ask(String name, long... numbers) {
        var results = kernel.export(name).apply(numbers);
        return results == null || results.length == 0 ? 0 : results[0];
    }

    /** Checks a range of the kernel's memory: whoever wrote the kernel may be wrong. Addresses here have 32 bits. */
    private void check(long address, long length) throws CallException {
        var size = (long) memory().pages() * Memory.PAGE_SIZE;
        if (Long.compareUnsigned(address, size) > 0 || Long.compareUnsigned(length, size - address) > 0) {
            var message = "the kernel describes %s bytes at %s, its memory has %d".formatted(
                    Long.toUnsignedString(length), Long.toUnsignedString(address), size);
            throw new CallException(message, null);
        }
    }

    private Memory memory() {
        return kernel.exports().memory("memory");
    }

    private byte[] take(long address, long length) throws CallException {
        check(address, length);
        return memory().readBytes((int) address, (int) length);
    }

    /** Copies bytes into a new block and returns its handle. */
    private long put(byte[] data) throws CallException {
        var handle = ask("alloc", data.length);
        if (handle == 0) { // address 0 is not ours: nothing may be written there
            throw new CallException("out of memory", null);
        }
        check(handle, data.length);
        memory().write((int) handle, data);
        return handle;
    }

    /** Calls the plug-in's function. After an exception the next call works all the same. */
    private byte[] call(byte[] data) throws CallException {
        // 1. Open the call. `error_set` comes first, also on an instance that was never reset.
        ask("error_set", 0);
        ask("reset"); // ends all blocks of the call before
        ask("input_set", data.length == 0 ? 0 : put(data), data.length); // (0, 0) clears the input
        // 2. The guest's function. A trap is kept, for the guest may have set its error before.
        Throwable trap = null;
        var status = 0;
        try {
            var results = entry.apply();
            status = results == null || results.length == 0 ? 0 : (int) results[0];
        } catch (ChicoryException | StackOverflowError failure) {
            trap = failure;
        }
        // 3. Close the call: read the registers in every case. An error that the guest set counts first,
        //    also with result 0; then a trap; then a result other than 0.
        var address = ask("output_offset");
        var length = ask("output_length");
        var error = ask("error_get");
        var errorLength = ask("length", error); // of handle 0 it is 0
        if (error != 0 && errorLength != 0) {
            throw new CallException(new String(take(error, errorLength), StandardCharsets.UTF_8), trap);
        }
        if (trap != null) {
            throw new CallException("the plug-in trapped: " + trap.getMessage(), trap);
        }
        if (status != 0) {
            throw new CallException("the plug-in returned " + status, null);
        }
        return take(address, length);
    }

    public static void main(String[] arguments) throws IOException {
        System.exit(run(arguments));
    }

    private static int run(String[] arguments) throws IOException {
        if (arguments.length != 3) {
            System.err.println("usage: java -cp ... Host KERNEL PLUGIN FUNCTION < INPUTS");
            return 2;
        }
        Host host;
        try {
            host = new Host(
                    Files.readAllBytes(Path.of(arguments[0])), Files.readAllBytes(Path.of(arguments[1])), arguments[2]);
        } catch (IOException | ChicoryException | CallException failure) {
            System.err.println("error: " + failure.getMessage());
            return 2;
        }
        var code = 0;
        var inputs = new BufferedInputStream(System.in);
        for (var line = readLine(inputs); line != null; line = readLine(inputs)) {
            try {
                System.out.write(host.call(line));
                System.out.write('\n');
            } catch (CallException failure) {
                System.err.println("error: " + failure.getMessage());
                code = 1;
            }
        }
        System.out.flush();
        return code;
    }

    /** Reads up to the next line feed, or returns null at the end. */
    private static byte[] readLine(BufferedInputStream inputs) throws IOException {
        var line = new ByteArrayOutputStream();
        for (var next = inputs.read(); next != '\n'; next = inputs.read()) {
            if (next < 0) {
                return line.size() == 0 ? null : line.toByteArray();
            }
            line.write(next);
        }
        return line.toByteArray();
    }
}

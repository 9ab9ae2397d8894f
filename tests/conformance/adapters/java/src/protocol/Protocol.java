package protocol;

import java.io.BufferedReader;
import java.io.IOException;
import java.io.InputStreamReader;
import java.io.PrintStream;
import java.nio.charset.StandardCharsets;
import java.util.HashMap;
import java.util.HexFormat;
import java.util.List;
import java.util.Map;
import java.util.Properties;
import java.util.Set;
import java.util.function.Function;
import org.json.JSONObject;

/** Adapter protocol 1 over standard input and output, for every engine that has an {@link Instance}. */
public final class Protocol {
    private static final Set<String> OPERATIONS =
            Set.of("instantiate", "call", "read", "write", "size", "grow", "global_get", "drop");
    private static final long PAGE = 65_536;

    private final Map<String, Instance> instances = new HashMap<>();
    private final Map<String, Object> hello;
    private final Function<byte[], Instance> engine;

    private Protocol(Map<String, Object> hello, Function<byte[], Instance> engine) {
        this.hello = hello;
        this.engine = engine;
    }

    /** Answers requests until the input ends. */
    public static void serve(
            String adapter, String runtime, List<String> capabilities, Function<byte[], Instance> engine)
            throws IOException {
        var versions = new Properties();
        try (var file = Protocol.class.getResourceAsStream("/versions.properties")) {
            versions.load(file);
        }
        var protocol = new Protocol(
                Map.of(
                        "protocol", 1, "adapter", adapter, "runtime", runtime,
                        "version", versions.getProperty(runtime), "capabilities", capabilities),
                engine);
        var lines = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
        var output = new PrintStream(System.out, false, StandardCharsets.UTF_8);
        for (var line = lines.readLine(); line != null; line = lines.readLine()) {
            output.println(protocol.answer(line));
            output.flush();
        }
    }

    private JSONObject answer(String line) {
        var answer = new JSONObject().put("result", "ok");
        try {
            var ask = new JSONObject(line);
            answer.put("id", ask.get("id"));
            var operation = ask.getString("op");
            if (operation.equals("hello")) {
                hello.forEach(answer::put);
            } else if (OPERATIONS.contains(operation)) {
                perform(operation, ask, answer);
            } else {
                answer.put("result", "unsupported");
            }
        } catch (TrapException trap) {
            answer.put("result", "trap").put("kind", trap.kind).put("message", trap.getMessage());
        } catch (RejectException reject) {
            answer.put("result", "reject").put("stage", reject.stage).put("message", reject.getMessage());
        } catch (RuntimeException failure) {
            answer.put("result", "error").put("message", failure.toString());
        }
        return answer;
    }

    private void perform(String operation, JSONObject ask, JSONObject answer) {
        var name = ask.getString("instance");
        if (operation.equals("instantiate")) {
            instances.put(name, engine.apply(HexFormat.of().parseHex(ask.getString("module"))));
            return;
        }
        var instance = instances.get(name);
        if (instance == null) {
            throw new IllegalArgumentException("no instance `" + name + "`");
        }
        switch (operation) {
            case "call" -> {
                var arguments = ask.getJSONArray("args").toList().stream().map(String.class::cast).toList();
                answer.put("values", instance.call(ask.getString("name"), arguments));
            }
            case "read" -> {
                var length = ask.getLong("length");
                var address = bounded(instance, ask, length);
                answer.put("bytes", HexFormat.of().formatHex(instance.read(address, (int) length)));
            }
            case "write" -> {
                var bytes = HexFormat.of().parseHex(ask.getString("bytes"));
                instance.write(bounded(instance, ask, bytes.length), bytes);
            }
            case "size" -> answer.put("pages", instance.pages());
            case "grow" -> {
                var pages = ask.getLong("pages");
                answer.put("pages", pages > PAGE ? -1 : instance.grow((int) pages));
            }
            case "global_get" -> answer.put("value", instance.global(ask.getString("name")));
            default -> {
                instances.remove(name);
                instance.drop();
            }
        }
    }

    /** Returns the address of bytes inside the memory; it is compared as the unsigned number it is. */
    private static long bounded(Instance instance, JSONObject ask, long length) {
        var address = Long.parseUnsignedLong(ask.getString("address"));
        var end = instance.pages() * PAGE;
        if (Long.compareUnsigned(address, end) > 0 || length > end - address) {
            var place = Long.toUnsignedString(address) + " + " + length;
            throw new TrapException("out-of-bounds", place + " is past " + end);
        }
        return address;
    }

    /** Turns {@code i64:18446744073709551615} into the bits of its type. */
    public static long parse(String type, String text) {
        if (!text.startsWith(type + ":")) {
            throw new IllegalArgumentException("`" + text + "` is no " + type);
        }
        var digits = text.substring(type.length() + 1);
        return switch (type) {
            case "i32" -> Integer.parseUnsignedInt(digits);
            case "i64" -> Long.parseUnsignedLong(digits);
            case "f32" -> Integer.parseUnsignedInt(digits, 16);
            case "f64" -> Long.parseUnsignedLong(digits, 16);
            default -> throw new IllegalArgumentException("no argument of type " + type + " is possible here");
        };
    }

    /** Turns the bits of a number into {@code i64:18446744073709551615}. */
    public static String show(String type, long bits) {
        return switch (type) {
            case "i32" -> "i32:" + Integer.toUnsignedString((int) bits);
            case "i64" -> "i64:" + Long.toUnsignedString(bits);
            case "f32" -> String.format("f32:%08x", (int) bits);
            case "f64" -> String.format("f64:%016x", bits);
            default -> throw new IllegalArgumentException("type " + type + " has no form in the protocol");
        };
    }
}

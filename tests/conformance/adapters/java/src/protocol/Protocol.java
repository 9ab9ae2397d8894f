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
import java.util.function.Supplier;
import java.util.regex.Pattern;
import java.util.stream.Stream;
import org.json.JSONArray;
import org.json.JSONObject;

/** Adapter protocol 1 over standard input and output, for every engine that has an {@link Instance}. */
public final class Protocol {
    private static final Set<String> OPERATIONS =
            Set.of("instantiate", "call", "read", "write", "size", "grow", "global_get", "drop");
    private static final long PAGE = 65_536;
    private static final Pattern REFERENCE = Pattern.compile("@(\\d+)(?:\\*(\\d+))?(?:\\+(\\d+))?");

    private final Map<String, Instance> instances = new HashMap<>();
    private final Map<String, Object> hello;
    private final Function<byte[], Supplier<Instance>> engine;
    private final Map<String, Supplier<Instance>> modules = new HashMap<>();
    /** The answers so far of the batch at hand. */
    private JSONArray results = new JSONArray();

    private Protocol(Map<String, Object> hello, Function<byte[], Supplier<Instance>> engine) {
        this.hello = hello;
        this.engine = engine;
    }

    /** Answers requests until the input ends; the engine compiles a module and gives what makes its instances. */
    public static void serve(
            String adapter,
            String runtime,
            List<String> capabilities,
            Function<byte[], Supplier<Instance>> engine)
            throws IOException {
        var versions = new Properties();
        try (var file = Protocol.class.getResourceAsStream("/versions.properties")) {
            versions.load(file);
        }
        var protocol = new Protocol(
                Map.of(
                        "protocol", 1, "adapter", adapter, "runtime", runtime,
                        "version", versions.getProperty(runtime),
                        "capabilities", Stream.concat(capabilities.stream(), Stream.of("batch", "modules")).toList()),
                engine);
        var lines = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
        var output = new PrintStream(System.out, false, StandardCharsets.UTF_8);
        for (var line = lines.readLine(); line != null; line = lines.readLine()) {
            output.println(protocol.answerLine(line));
            output.flush();
        }
    }

    private JSONObject answerLine(String line) {
        var ask = new JSONObject(line);
        var answer = new JSONObject();
        if (ask.optString("op").equals("batch")) {
            results = new JSONArray();
            for (var operation : ask.getJSONArray("operations")) {
                results.put(answer((JSONObject) operation));
            }
            answer.put("result", "ok").put("answers", results);
        } else {
            answer = answer(ask);
        }
        return answer.put("id", ask.get("id"));
    }

    /** Returns the answer to one operation, all but its id. */
    private JSONObject answer(JSONObject ask) {
        var answer = new JSONObject().put("result", "ok");
        try {
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

    private Instance instantiate(JSONObject ask) {
        if (!ask.has("module")) {
            return modules.get(ask.getString("digest")).get();
        }
        var module = engine.apply(HexFormat.of().parseHex(ask.getString("module")));
        if (ask.has("digest")) {
            modules.put(ask.getString("digest"), module);
        }
        return module.get();
    }

    private void perform(String operation, JSONObject ask, JSONObject answer) {
        var name = ask.getString("instance");
        if (operation.equals("instantiate")) {
            instances.put(name, instantiate(ask));
            return;
        }
        var instance = instances.get(name);
        if (instance == null) {
            throw new IllegalArgumentException("no instance `" + name + "`");
        }
        switch (operation) {
            case "call" -> {
                var arguments = ask.getJSONArray("args").toList().stream()
                        .map(String.class::cast)
                        .map(this::value)
                        .toList();
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
    private long bounded(Instance instance, JSONObject ask, long length) {
        var address = number(ask.getString("address"));
        var end = instance.pages() * PAGE;
        if (Long.compareUnsigned(address, end) > 0 || length > end - address) {
            var place = Long.toUnsignedString(address) + " + " + length;
            throw new TrapException("out-of-bounds", place + " is past " + end);
        }
        return address;
    }

    /** Returns an argument without a reference. */
    private String value(String text) {
        var digits = text.substring(text.indexOf(':') + 1);
        return digits.startsWith("@") ? show(text.substring(0, 3), number(digits)) : text;
    }

    /** Returns a number as it stands there, or one that refers to an earlier answer in the batch. */
    private long number(String text) {
        var reference = REFERENCE.matcher(text);
        if (!reference.matches()) {
            return Long.parseUnsignedLong(text);
        }
        var answer = results.getJSONObject(Integer.parseInt(reference.group(1)));
        var value = answer.has("values")
                ? Long.parseUnsignedLong(answer.getJSONArray("values").getString(0).substring(4))
                : answer.getLong("pages");
        var factor = reference.group(2) == null ? 1 : Long.parseUnsignedLong(reference.group(2));
        var offset = reference.group(3) == null ? 0 : Long.parseUnsignedLong(reference.group(3));
        return value * factor + offset;
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

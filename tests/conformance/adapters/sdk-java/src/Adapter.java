// Adapter protocol 1, sdk profile, for the Java SDK (Chicory); see SDK.md.
import com.dylibso.chicory.log.Logger;
import com.dylibso.chicory.wasi.WasiOptions;
import com.fasterxml.jackson.core.type.TypeReference;
import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.ArrayNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.io.*;
import java.lang.management.ManagementFactory;
import java.nio.file.Path;
import java.security.*;
import java.util.*;
import java.util.concurrent.*;
import org.extism.sdk.chicory.*;
import org.extism.sdk.chicory.http.HttpConfig;
import org.extism.sdk.chicory.http.client.javanet.JavaNetHttpClientAdapter;
import org.extism.sdk.chicory.http.jackson.JacksonJsonCodec;

class Adapter {
    static final ObjectMapper JSON = new ObjectMapper();
    static final Map<String, Plugin> plugins = new HashMap<>();
    static final Map<String, JsonNode> loaded = new HashMap<>();
    static ArrayNode logs = JSON.createArrayNode();

    record Keep(int lowest) implements Logger { // levels: ALL, TRACE, DEBUG, INFO, WARNING, ERROR, OFF
        static final List<String> NAMES = List.of("all", "trace", "debug", "info", "warn", "error", "off");
        public void log(Level level, String text, Throwable cause) {
            logs.addObject().put("level", NAMES.get(level.ordinal())).put("message", text);
        }
        public boolean isLoggable(Level level) { return level.ordinal() >= lowest; }
    }

    static String kernel() throws IOException, NoSuchAlgorithmException { // the SDK takes the first one on the class path
        try (var stream = Plugin.class.getClassLoader().getResourceAsStream("extism-runtime.wasm")) {
            return HexFormat.of().formatHex(MessageDigest.getInstance("SHA-256").digest(stream.readAllBytes()));
        }
    }

    static Plugin make(JsonNode r) {
        JsonNode manifest = r.get("manifest"), memory = manifest.path("memory");
        var options = new Manifest.Options().withHttpConfig(HttpConfig.builder()
            .withJsonCodec(JacksonJsonCodec::new).withClientAdapter(JavaNetHttpClientAdapter::new).build());
        if (manifest.has("config")) options.withConfig(JSON.convertValue(manifest.get("config"), new TypeReference<Map<String, String>>() {}));
        if (manifest.has("allowed_hosts")) options.withAllowedHosts(JSON.convertValue(manifest.get("allowed_hosts"), String[].class));
        var wasi = WasiOptions.builder();
        manifest.path("allowed_paths").fields().forEachRemaining(each -> wasi.withDirectory(each.getValue().asText(), Path.of(each.getKey())));
        options.withWasi(wasi.build());
        if (memory.has("max_pages")) options.withMemoryLimits(1, memory.get("max_pages").asInt());
        var wasms = new ArrayList<ManifestWasm>();
        for (var each : r.get("modules"))
            wasms.add(ManifestWasm.fromBytes(HexFormat.of().parseHex(each.get("bytes").asText())).withName(each.get("name").asText()).build());
        return Plugin.ofManifest(Manifest.ofWasms(wasms.toArray(new ManifestWasm[0])).withOptions(options).build())
            .withLogger(new Keep(Keep.NAMES.indexOf(r.get("log_level").asText()))).build();
    }

    static ObjectNode load(JsonNode r, ObjectNode answer) {
        JsonNode manifest = r.get("manifest"), memory = manifest.path("memory");
        if (manifest.has("timeout_ms") || manifest.path("allowed_paths").toString().contains("\"ro:") || memory.has("max_var_bytes") || memory.has("max_http_response_bytes") || r.get("http_response_headers").asBoolean())
            return answer.put("result", "unsupported"); // this interface has no words for it
        try {
            plugins.put(r.get("plugin").asText(), make(r));
            loaded.put(r.get("plugin").asText(), r);
        } catch (RuntimeException | StackOverflowError error) {
            return answer.put("result", "reject").put("message", String.valueOf(error));
        }
        return answer;
    }

    static ObjectNode invoke(JsonNode r, ObjectNode answer) {
        logs = JSON.createArrayNode();
        return call(r, answer).set("logs", logs);
    }

    static ObjectNode call(JsonNode r, ObjectNode answer) {
        try {
            byte[] output = plugins.get(r.get("plugin").asText()).call(r.get("function").asText(), HexFormat.of().parseHex(r.get("input").asText()));
            answer.put("output", HexFormat.of().formatHex(output));
        } catch (RuntimeException | StackOverflowError | OutOfMemoryError error) {
            answer.put("result", "fail").put("message", String.valueOf(error));
        }
        return answer;
    }

    static ArrayNode repeat(JsonNode r) {
        var outcomes = new LinkedHashMap<ObjectNode, Integer>();
        for (int n = 0; n < r.get("times").asInt(); n++)
            outcomes.merge(call(r, JSON.createObjectNode().put("result", "ok")), 1, Integer::sum);
        var answers = JSON.createArrayNode();
        outcomes.forEach((outcome, times) -> answers.add(outcome.deepCopy().put("times", times)));
        return answers;
    }

    static ObjectNode together(JsonNode r, ObjectNode answer) {
        var calls = new ArrayList<CompletableFuture<ArrayNode>>();
        for (var each : r.get("calls")) calls.add(CompletableFuture.supplyAsync(() -> repeat(each), work -> new Thread(work).start()));
        var answers = answer.putArray("answers");
        for (var each : calls) answers.add(each.join());
        return answer;
    }

    static long cpu() {
        return ((com.sun.management.OperatingSystemMXBean) ManagementFactory.getOperatingSystemMXBean()).getProcessCpuTime() / 1000;
    }

    static ObjectNode time(JsonNode r, ObjectNode answer) {
        byte[] data = new byte[r.path("length").asInt()];
        Arrays.fill(data, (byte) 'a');
        long before = cpu();
        try {
            for (int n = 0; n < r.get("times").asInt(); n++)
                if (r.has("function")) plugins.get(r.get("plugin").asText()).call(r.get("function").asText(), data);
                else make(loaded.get(r.get("plugin").asText()));
        } catch (RuntimeException | StackOverflowError | OutOfMemoryError error) {
            return answer.put("result", "fail").put("message", String.valueOf(error));
        }
        return answer.put("cpu_us", cpu() - before);
    }

    public static void main(String[] args) throws IOException, NoSuchAlgorithmException {
        var lines = new BufferedReader(new InputStreamReader(System.in, "UTF-8"));
        for (String line; (line = lines.readLine()) != null; ) {
            JsonNode r = JSON.readTree(line);
            ObjectNode answer = JSON.createObjectNode().put("id", r.get("id").asLong()).put("result", "ok");
            switch (r.get("op").asText()) {
                case "hello" -> answer.put("protocol", 1).put("adapter", "sdk-java").put("runtime", "extism-chicory").put("version", "0.2.0").put("kernel", kernel()).putArray("capabilities").add("logs").add("together");
                case "load" -> load(r, answer);
                case "invoke" -> invoke(r, answer);
                case "together" -> together(r, answer);
                case "time" -> time(r, answer);
                case "unload" -> plugins.remove(r.get("plugin").asText());
                default -> answer.put("result", "unsupported");
            }
            System.out.write((JSON.writeValueAsString(answer) + "\n").getBytes("UTF-8"));
            System.out.flush();
        }
    }
}

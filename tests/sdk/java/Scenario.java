import com.google.gson.Gson;
import com.google.gson.JsonElement;
import io.ably.lib.types.ClientOptions;
import java.util.List;
import java.util.Map;

/** What the client is to do: the JSON argument, see mod.rs. */
final class Scenario {
    String format = "json";
    String host;
    int port;
    String key;
    String token;
    String authUrl;
    String clientId;
    double seconds;
    double rate;
    boolean presence;
    List<String> channels = List.of();
    double settle;
    double authorizeEvery;
    boolean detach;
    boolean history;
    Map<String, JsonElement> options = Map.of();

    static Scenario read(String argument) {
        return new Gson().fromJson(argument, Scenario.class);
    }

    /** Fails at an option that it does not know: a test must not believe that it took effect. */
    ClientOptions clientOptions() throws Exception {
        ClientOptions result = new ClientOptions();
        result.autoConnect = false;
        result.key = key;
        result.token = token;
        result.authUrl = authUrl;
        result.clientId = clientId;
        // Both: with one of them alone the other is the vendor's.
        result.realtimeHost = host;
        result.restHost = host;
        result.port = port;
        result.tls = false;
        result.useBinaryProtocol = format.equals("msgpack");
        // Quiet: nothing below NONE is written.
        result.logLevel = io.ably.lib.util.Log.NONE;
        for (Map.Entry<String, JsonElement> option : options.entrySet()) {
            if (!option.getKey().equals("useTokenAuth")) throw new IllegalArgumentException("unknown option " + option.getKey());
            result.useTokenAuth = option.getValue().getAsBoolean();
        }
        return result;
    }
}

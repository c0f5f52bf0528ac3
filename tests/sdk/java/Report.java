import com.google.gson.GsonBuilder;
import io.ably.lib.types.ErrorInfo;
import java.util.ArrayList;
import java.util.List;
import java.util.Locale;

/** What an application would have seen: the line on stdout, see mod.rs. */
final class Report {
    boolean connected;
    String connectionId;
    final List<ConnectionEvent> connectionEvents = new ArrayList<>();
    final List<ChannelEvent> channelEvents = new ArrayList<>();
    final List<PresenceEvent> presenceEvents = new ArrayList<>();
    int published;
    int acked;
    int nacked;
    int ackedTwice;
    int unanswered;
    final List<Failure> nacks = new ArrayList<>();
    int received;
    int fromServer;
    int lost;
    int doubled;
    int reordered;
    int authorized;
    final List<String> failures = new ArrayList<>();
    Integer historyItems;
    Long serviceTime;
    String finalState;
    boolean closedCleanly;
    String error;

    static final class ConnectionEvent {
        String event;
        String from;
        String to;
        Integer code;
        long at = at();
    }

    static final class ChannelEvent {
        String channel;
        String event;
        String from;
        String to;
        boolean resumed;
        Integer code;
        long at = at();
    }

    static final class PresenceEvent {
        String channel;
        String action;
        String clientId;
        long at = at();
    }

    /** Why a publish was not taken. */
    static final class Failure {
        final Integer code;
        final String message;

        Failure(ErrorInfo reason) {
            code = Report.code(reason);
            message = reason == null ? null : reason.message;
        }
    }

    private static final long STARTED = System.nanoTime();

    /** Milliseconds since the client began. */
    static long at() {
        return (System.nanoTime() - STARTED) / 1_000_000;
    }

    static Integer code(ErrorInfo reason) {
        return reason == null ? null : reason.code;
    }

    static String lower(Enum<?> name) {
        return name.name().toLowerCase(Locale.ROOT);
    }

    String json() {
        return new GsonBuilder().serializeNulls().create().toJson(this);
    }
}

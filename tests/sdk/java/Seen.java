import io.ably.lib.realtime.ChannelEvent;
import io.ably.lib.realtime.ChannelState;
import io.ably.lib.realtime.ChannelStateListener.ChannelStateChange;
import io.ably.lib.realtime.ConnectionState;
import io.ably.lib.realtime.ConnectionStateListener.ConnectionStateChange;
import io.ably.lib.types.ErrorInfo;
import io.ably.lib.types.Message;
import io.ably.lib.types.PresenceMessage;
import java.util.HashMap;
import java.util.HashSet;
import java.util.LinkedHashMap;
import java.util.Map;
import java.util.OptionalInt;
import java.util.Set;

/**
 * All that was seen. The SDK calls from threads of its own, so every method is synchronized; none of them
 * calls the SDK.
 */
final class Seen {
    private final Report report = new Report();
    private final String me;
    private final Map<String, Stream> own = new LinkedHashMap<>();
    private final Map<String, Stream> server = new LinkedHashMap<>();
    private final Set<String> unanswered = new HashSet<>();
    private final Map<String, Set<Integer>> acked = new LinkedHashMap<>();
    private boolean over;
    /** Events of the client's own detach and attach that are still to come, by channel. */
    private final Map<String, Integer> ownEvents = new HashMap<>();

    Seen(String me) {
        this.me = me;
    }

    /** Reports what comes after the first `connected`, and a failure whenever it comes. */
    synchronized void connection(ConnectionStateChange change, String id) {
        if (over) return;
        if (report.connected || change.current == ConnectionState.failed) {
            Report.ConnectionEvent event = new Report.ConnectionEvent();
            event.event = Report.lower(change.event);
            event.from = Report.lower(change.previous);
            event.to = Report.lower(change.current);
            event.code = Report.code(change.reason);
            report.connectionEvents.add(event);
        }
        if (change.current == ConnectionState.connected && !report.connected) {
            report.connected = true;
            report.connectionId = id;
        }
    }

    /** What the client asked for itself is not reported; `detached` has a reason. */
    synchronized void channel(String name, ChannelStateChange change) {
        boolean detached = change.previous == ChannelState.detaching && change.current == ChannelState.detached;
        boolean asked = detached || change.reason == null && change.event != ChannelEvent.update;
        if (over) return;
        int toCome = ownEvents.getOrDefault(name, 0);
        if (asked && toCome > 0) {
            ownEvents.put(name, toCome - 1);
            return;
        }
        Report.ChannelEvent event = new Report.ChannelEvent();
        event.channel = name;
        event.event = Report.lower(change.event);
        event.from = Report.lower(change.previous);
        event.to = Report.lower(change.current);
        event.resumed = change.resumed;
        event.code = Report.code(change.reason);
        report.channelEvents.add(event);
    }

    synchronized void presence(String channel, PresenceMessage member) {
        if (over) return;
        Report.PresenceEvent event = new Report.PresenceEvent();
        event.channel = channel;
        event.action = Report.lower(member.action);
        event.clientId = member.clientId;
        report.presenceEvents.add(event);
    }

    synchronized void message(String channel, Message message) {
        OptionalInt ours = Stream.ownNumber(message.data, me);
        OptionalInt theirs = Stream.number(message.data);
        if ("own".equals(message.name) && ours.isPresent()) {
            report.received++;
            stream(own, channel).take(ours.getAsInt(), report);
        } else if ("server".equals(message.name) && theirs.isPresent()) {
            report.fromServer++;
            stream(server, channel).take(theirs.getAsInt(), report);
        }
    }

    synchronized void published(String channel, int n) {
        report.published++;
        unanswered.add(channel + " " + n);
    }

    synchronized void answered(String channel, int n, boolean taken, ErrorInfo reason) {
        if (!unanswered.remove(channel + " " + n)) {
            report.ackedTwice++;
        } else if (taken) {
            report.acked++;
            acked.computeIfAbsent(channel, name -> new HashSet<>()).add(n);
        } else {
            report.nacked++;
            report.nacks.add(new Report.Failure(reason));
        }
    }

    synchronized void authorized() {
        report.authorized++;
    }

    synchronized void failure(String text) {
        report.failures.add(text);
    }

    synchronized void history(int items) {
        report.historyItems = items;
    }

    synchronized void serviceTime(long milliseconds) {
        report.serviceTime = milliseconds;
    }

    /** The client detaches a channel and attaches it again: detaching, detached, attaching, attached. */
    synchronized void expectOwnEvents(String channel) {
        ownEvents.put(channel, 4);
    }

    synchronized boolean refused() {
        return report.nacked > 0;
    }

    synchronized boolean connected() {
        return report.connected;
    }

    synchronized boolean allAnswered() {
        return unanswered.isEmpty();
    }

    /** Own messages that were acknowledged and did not come back. */
    synchronized int missing() {
        int missing = 0;
        for (Map.Entry<String, Set<Integer>> entry : acked.entrySet()) {
            Stream stream = stream(own, entry.getKey());
            for (int n : entry.getValue()) if (!stream.has(n)) missing++;
        }
        return missing;
    }

    /** What is seen from here on is the client's own close. */
    synchronized void end(ConnectionState state, String error) {
        over = true;
        report.finalState = Report.lower(state);
        report.unanswered = unanswered.size();
        report.lost = missing() + server.values().stream().mapToInt(Stream::gaps).sum();
        report.error = error;
    }

    synchronized String json(boolean closedCleanly) {
        report.closedCleanly = closedCleanly;
        return report.json();
    }

    private static Stream stream(Map<String, Stream> streams, String channel) {
        return streams.computeIfAbsent(channel, name -> new Stream());
    }
}

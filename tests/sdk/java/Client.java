import com.google.gson.JsonObject;
import io.ably.lib.realtime.AblyRealtime;
import io.ably.lib.realtime.Channel;
import io.ably.lib.realtime.CompletionListener;
import io.ably.lib.realtime.ConnectionState;
import io.ably.lib.types.AblyException;
import io.ably.lib.types.ErrorInfo;
import io.ably.lib.types.Message;
import io.ably.lib.types.PaginatedResult;
import io.ably.lib.types.Param;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.TimeoutException;
import java.util.function.BooleanSupplier;

/** The SDK's client through its life: it does what client.mjs does, see there. */
final class Client {
    private static final double PATIENCE = 15;

    private final Scenario scenario;
    private final String me = "java-" + System.nanoTime();
    private final Seen seen = new Seen(me);
    private final AblyRealtime ably;
    private volatile boolean stopped;
    private volatile boolean published;

    Client(Scenario scenario) throws Exception {
        this.scenario = scenario;
        ably = new AblyRealtime(scenario.clientOptions());
        ably.connection.on(change -> seen.connection(change, ably.connection.id));
    }

    /** Publishes no more, and closes. */
    void stop() {
        stopped = true;
    }

    /** The whole life; the report. */
    String live() throws Exception {
        String error = null;
        try {
            run();
        } catch (TimeoutException late) {
            error = "an operation was not answered in " + PATIENCE + " s";
        } catch (AblyException refused) {
            error = refused.errorInfo.toString();
        }
        // An operation that fails with its connection is told before the connection's own event.
        if (error != null || seen.refused()) until(1, this::failed);
        seen.end(ably.connection.state, error);
        ably.close();
        until(5, () -> is(ConnectionState.closed) || is(ConnectionState.failed));
        return seen.json(is(ConnectionState.closed));
    }

    private void run() throws Exception {
        ably.connect();
        until(PATIENCE, () -> seen.connected() || is(ConnectionState.failed));
        if (!seen.connected()) return;
        List<Channel> channels = new ArrayList<>();
        for (String name : scenario.channels) channels.add(join(name));
        Thread authorizing = new Thread(this::authorizeOften);
        authorizing.start();
        try {
            publishOften(channels);
        } finally {
            published = true;
            authorizing.join((long) (PATIENCE * 1000));
        }
        settle();
        if (scenario.history) readHistory(channels);
    }

    /** Attaches a channel, and enters its presence where that is asked for. */
    private Channel join(String name) throws Exception {
        Channel channel = ably.channels.get(name);
        channel.subscribe(message -> seen.message(name, message));
        done(channel::attach);
        channel.on(change -> seen.channel(name, change));
        if (scenario.presence) {
            channel.presence.subscribe(member -> seen.presence(name, member));
            done(listener -> channel.presence.enter("here", listener));
        }
        return channel;
    }

    /** Publishes against the clock, so that a late timer does not lower the rate. */
    private void publishOften(List<Channel> channels) throws Exception {
        long pause = nanos(scenario.rate > 0 ? 1 / scenario.rate : 0.05);
        long begin = System.nanoTime();
        long end = begin + nanos(scenario.seconds);
        long half = begin + nanos(scenario.seconds / 2);
        long due = begin;
        boolean detached = false;
        for (int n = 0; System.nanoTime() < end && !stopped && !failed(); n++) {
            if (scenario.rate > 0) for (Channel channel : channels) publish(channel, n);
            if (scenario.detach && !detached && System.nanoTime() > half) {
                detached = true;
                detachAndAttach(channels);
                // What was not published meanwhile is not made up for.
                due = System.nanoTime();
            }
            due += pause;
            TimeUnit.NANOSECONDS.sleep(due - System.nanoTime());
        }
    }

    private void publish(Channel channel, int n) {
        JsonObject data = new JsonObject();
        data.addProperty("from", me);
        data.addProperty("n", n);
        seen.published(channel.name, n);
        CompletionListener answer = new CompletionListener() {
            @Override
            public void onSuccess() {
                seen.answered(channel.name, n, true, null);
            }

            @Override
            public void onError(ErrorInfo reason) {
                seen.answered(channel.name, n, false, reason);
            }
        };
        try {
            channel.publish("own", data, answer);
        } catch (AblyException refused) {
            answer.onError(refused.errorInfo);
        }
    }

    /** Does so to every channel, when nothing is on its way; the events of it are its own. */
    private void detachAndAttach(List<Channel> channels) throws Exception {
        settle();
        for (Channel channel : channels) {
            seen.expectOwnEvents(channel.name);
            done(channel::detach);
            done(channel::attach);
            if (scenario.presence) done(listener -> channel.presence.enter("here", listener));
        }
    }

    /** Has the client renew its token itself, as an application may. */
    private void authorizeOften() {
        long next = System.nanoTime() + nanos(scenario.authorizeEvery);
        while (scenario.authorizeEvery > 0 && !published) {
            if (System.nanoTime() >= next) {
                try {
                    ably.auth.authorize(null, null);
                    seen.authorized();
                } catch (AblyException refused) {
                    seen.failure("authorize: " + refused.errorInfo);
                }
                next += nanos(scenario.authorizeEvery);
            }
            pause(5);
        }
    }

    /** Asks for what the service remembers, and for its time. A failure is told, no more. */
    private void readHistory(List<Channel> channels) {
        try {
            int items = 0;
            for (Channel channel : channels) {
                PaginatedResult<Message> page = channel.history(new Param[] {new Param("limit", "1000")});
                items += page.items().length;
                while (page.hasNext()) {
                    page = page.next();
                    items += page.items().length;
                }
            }
            seen.history(items);
        } catch (AblyException refused) {
            seen.failure("history: " + refused.errorInfo);
        }
        try {
            seen.serviceTime(ably.time());
        } catch (AblyException refused) {
            seen.failure("time: " + refused.errorInfo);
        }
    }

    /** Waits for what is on its way. */
    private void settle() {
        until(scenario.settle, () -> seen.allAnswered() || failed());
        until(scenario.settle, () -> seen.missing() == 0 || failed());
    }

    private boolean is(ConnectionState state) {
        return ably.connection.state == state;
    }

    private boolean failed() {
        return is(ConnectionState.failed) || is(ConnectionState.suspended) || is(ConnectionState.closed);
    }

    /** An operation of the SDK's that tells a listener when it is done. */
    private interface Operation {
        void start(CompletionListener listener) throws AblyException;
    }

    private static void done(Operation operation) throws Exception {
        CompletableFuture<ErrorInfo> end = new CompletableFuture<>();
        operation.start(new CompletionListener() {
            @Override
            public void onSuccess() {
                end.complete(null);
            }

            @Override
            public void onError(ErrorInfo reason) {
                end.complete(reason == null ? new ErrorInfo("no reason", 0) : reason);
            }
        });
        ErrorInfo reason = end.get((long) PATIENCE, TimeUnit.SECONDS);
        if (reason != null) throw AblyException.fromErrorInfo(reason);
    }

    private static void until(double seconds, BooleanSupplier isSo) {
        long end = System.nanoTime() + nanos(seconds);
        while (!isSo.getAsBoolean() && System.nanoTime() < end) pause(5);
    }

    private static void pause(long milliseconds) {
        try {
            Thread.sleep(milliseconds);
        } catch (InterruptedException never) {
            throw new IllegalStateException(never);
        }
    }

    private static long nanos(double seconds) {
        return (long) (seconds * 1e9);
    }
}

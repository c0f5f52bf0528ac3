import java.util.Timer;
import java.util.TimerTask;

/**
 * One real Ably client in Java, driven by one JSON argument; prints one JSON line and exits.
 *
 * It does what client.mjs does and counts as that does: see there, and Scenario and Report in mod.rs.
 * current.xml and legacy.xml name the SDK's versions; the source is the same.
 */
final class Main {
    public static void main(String[] arguments) throws Exception {
        // A thread of the SDK's that dies is a crash: no report.
        Thread.setDefaultUncaughtExceptionHandler((thread, error) -> {
            error.printStackTrace();
            Runtime.getRuntime().halt(2);
        });
        if (arguments.length != 1) throw new IllegalArgumentException("one argument, the scenario");
        Scenario scenario = Scenario.read(arguments[0]);
        // Nor must one that blocks for good keep the test waiting.
        long limit = (long) ((scenario.seconds + 2 * scenario.settle + 55) * 1000);
        new Timer(true).schedule(new TimerTask() {
            @Override
            public void run() {
                System.err.println("not done after " + limit + " ms");
                Runtime.getRuntime().halt(3);
            }
        }, limit);

        Client client = new Client(scenario);
        Thread input = new Thread(() -> {
            if (new java.util.Scanner(System.in).hasNextLine()) client.stop();
        });
        input.setDaemon(true);
        input.start();
        System.out.println(client.live());
        System.out.flush();
        // The SDK's own threads would go on.
        Runtime.getRuntime().halt(0);
    }
}

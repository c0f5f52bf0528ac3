import com.google.gson.JsonObject;
import java.util.HashSet;
import java.util.OptionalInt;
import java.util.Set;

/** What of one row of numbers has been seen: one for each channel and each sender. */
final class Stream {
    private final Set<Integer> seen = new HashSet<>();
    private int first;
    private int highest = -1;

    /** Counts a number as new, seen before, or late. */
    void take(int n, Report report) {
        if (seen.contains(n)) report.doubled++;
        else if (n < highest) report.reordered++;
        if (seen.isEmpty()) first = n;
        seen.add(n);
        highest = Math.max(highest, n);
    }

    boolean has(int n) {
        return seen.contains(n);
    }

    int gaps() {
        return seen.isEmpty() ? 0 : highest - first + 1 - seen.size();
    }

    /** The number in a message of this client's own. */
    static OptionalInt ownNumber(Object data, String me) {
        if (!(data instanceof JsonObject)) return OptionalInt.empty();
        JsonObject fields = (JsonObject) data;
        if (!fields.has("from") || !fields.get("from").getAsString().equals(me)) return OptionalInt.empty();
        return OptionalInt.of(fields.get("n").getAsInt());
    }

    /** A whole number, sent as such or as text. */
    static OptionalInt number(Object data) {
        try {
            return OptionalInt.of((int) Double.parseDouble(String.valueOf(data)));
        } catch (NumberFormatException notOne) {
            return OptionalInt.empty();
        }
    }
}

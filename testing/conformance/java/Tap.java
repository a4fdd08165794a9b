import org.junit.runner.Description;
import org.junit.runner.JUnitCore;
import org.junit.runner.Request;
import org.junit.runner.notification.Failure;
import org.junit.runner.notification.RunListener;

import java.io.PrintStream;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Set;

/**
 * Runs JUnit classes and prints TAP: one line a test, `ok Class.method`. What the tests themselves print goes to standard error. A class that does not end
 * in time fails, with the stack of its thread, and is left behind. Tests that measure time, with margins of 50 to 100 ms, have a second try: on a busy
 * machine a thread alone may sleep longer than that.
 */
public class Tap extends RunListener {
    private static final long CLASS_MILLIS = 240_000;
    private static final Set<String> TIMED = Set.of("DeadLetterExchange", "PerMessageTTL", "PerQueueTTL", "PerQueueVsPerMessageTTL", "QueueLease");

    private final PrintStream out;
    private final Map<Description, String> failed = new HashMap<>();
    private final List<Description> again = new ArrayList<>();
    private boolean secondTry;
    private volatile int count;

    Tap(PrintStream out) {
        this.out = out;
    }

    @Override
    public void testStarted(Description test) {
        System.err.println("started " + name(test));
    }

    @Override
    public void testFailure(Failure failure) {
        if (failure.getDescription().isTest()) {
            failed.put(failure.getDescription(), failure.getTrace());
            return;
        }
        count++; // a class that could not be set up
        out.println("not ok " + failure.getDescription().getClassName() + " (set-up)\n" + failure.getTrace());
    }

    @Override
    public void testAssumptionFailure(Failure failure) {
        failed.put(failure.getDescription(), null);
    }

    @Override
    public void testFinished(Description test) {
        if (!secondTry && failed.get(test) != null && TIMED.contains(test.getTestClass().getSimpleName())) {
            failed.remove(test);
            again.add(test);
            return;
        }
        count++;
        if (!failed.containsKey(test)) {
            out.println("ok " + name(test));
        } else if (failed.get(test) == null) {
            out.println("ok " + name(test) + " # SKIP its assumption does not hold");
        } else {
            out.println("not ok " + name(test) + "\n" + failed.get(test));
        }
    }

    @Override
    public void testIgnored(Description test) {
        count++;
        out.println("ok " + name(test) + " # SKIP ignored by its authors");
    }

    private void run(Class<?> tests) throws InterruptedException {
        JUnitCore core = new JUnitCore();
        core.addListener(this);
        Thread thread = new Thread(() -> {
            core.run(tests);
            secondTry = true;
            for (Description test : again) {
                core.run(Request.method(tests, test.getMethodName()));
            }
        });
        thread.setDaemon(true);
        thread.start();
        thread.join(CLASS_MILLIS);
        if (thread.isAlive()) {
            core.removeListener(this);
            count++;
            out.println("not ok " + tests.getSimpleName() + " (does not end)");
            for (StackTraceElement e : thread.getStackTrace()) {
                out.println("  at " + e);
            }
        }
    }

    private static String name(Description test) {
        return test.getTestClass().getSimpleName() + "." + test.getMethodName();
    }

    public static void main(String[] classes) throws Exception {
        PrintStream out = System.out;
        System.setOut(System.err);
        int count = 0;
        for (String name : classes) {
            Tap tap = new Tap(out); // its own: a class that was left behind may go on
            tap.run(Class.forName(name));
            count += tap.count;
        }
        out.println("1.." + count);
        System.exit(0);
    }
}

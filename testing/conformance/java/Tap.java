import org.junit.runner.Description;
import org.junit.runner.JUnitCore;
import org.junit.runner.notification.Failure;
import org.junit.runner.notification.RunListener;

import java.io.PrintStream;
import java.util.HashMap;
import java.util.Map;

/**
 * Runs JUnit classes and prints TAP: one line a test, `ok Class.method`. What the tests themselves print goes to standard error. A class that does not end
 * in time fails, with the stack of its thread, and is left behind.
 */
public class Tap extends RunListener {
    private static final long CLASS_MILLIS = 300_000;

    private final PrintStream out;
    private final Map<Description, String> failed = new HashMap<>();
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
        Thread thread = new Thread(() -> core.run(tests));
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
        Tap tap = new Tap(out);
        for (String name : classes) {
            tap.run(Class.forName(name));
        }
        out.println("1.." + tap.count);
        System.exit(0);
    }
}

package waypost.flink;

import java.io.IOException;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.ExecutionException;
import org.apache.flink.core.execution.JobClient;
import org.apache.flink.core.execution.SavepointFormatType;
import sun.misc.Signal;

/**
 * Runs jobs of this directory: on the cluster that CLUSTER names, else with Flink in this process, where every port is
 * on 127.0.0.1.
 *
 * <pre>RunSql DIRECTORY run|explain JOB... [NAME=VALUE...]</pre>
 *
 * <p>MODE=bounded: one job after the other, each to the end of its topics. MODE=continuous: all at once, until SIGTERM
 * or SIGINT; then each stops with a savepoint, and the next start continues there. Exit 0 at the end, 1 if a job
 * failed, 64 for a mistake of settings or arguments.
 */
public final class RunSql {
    private static final int FAILED = 1;
    private static final int USAGE = 64;
    private static final int ATTEMPTS = 60;

    private RunSql() {}

    public static void main(String[] args) throws Exception {
        try {
            run(args);
        } catch (Settings.Mistake mistake) {
            System.err.println("flink: " + mistake.getMessage());
            System.exit(USAGE);
        } catch (IllegalStateException | ExecutionException | IOException failure) {
            failure.printStackTrace();
            System.exit(FAILED);
        }
        System.exit(0);
    }

    private static void run(String[] args) throws Exception {
        if (args.length < 3) {
            throw new Settings.Mistake("usage: RunSql DIRECTORY run|explain JOB... [NAME=VALUE...]");
        }
        Path directory = Path.of(args[0]);
        List<String> assignments = new ArrayList<>();
        List<String> names = new ArrayList<>();
        for (String arg : Arrays.asList(args).subList(2, args.length)) {
            (arg.contains("=") ? assignments : names).add(arg);
        }
        Settings settings = new Settings(directory.resolve("settings.properties"), assignments);
        List<Job> jobs = new ArrayList<>();
        for (String name : names) {
            jobs.add(new Job(directory, name, settings));
        }
        switch (args[1]) {
            case "explain" -> {
                for (Job job : jobs) {
                    System.out.println(job.explain());
                }
            }
            case "run" -> {
                if (settings.is("MODE", "bounded")) {
                    runToTheEnd(jobs);
                } else {
                    runUntilSignal(jobs, settings);
                }
            }
            default -> throw new Settings.Mistake(args[1] + ": must be run or explain");
        }
    }

    private static void runToTheEnd(List<Job> jobs) throws Exception {
        for (Job job : jobs) {
            long began = System.nanoTime();
            job.start(null).await();
            System.err.printf("flink: %s: done in %.1f s%n", job.name, (System.nanoTime() - began) / 1e9);
        }
    }

    private static void runUntilSignal(List<Job> jobs, Settings settings) throws Exception {
        CountDownLatch stop = new CountDownLatch(1);
        for (String signal : List.of("TERM", "INT")) {
            Signal.handle(new Signal(signal), received -> stop.countDown());
        }
        List<JobClient> clients = new ArrayList<>();
        List<Throwable> failures = new ArrayList<>();
        for (Job job : jobs) {
            Path restored = State.newest(settings, job);
            JobClient running = Cluster.isNamed(settings) ? Cluster.findRunning(job.pipelineName(), settings) : null;
            JobClient client = running != null ? running : job.start(restored).getJobClient().orElseThrow();
            client.getJobExecutionResult().whenComplete((done, failure) -> {
                if (failure != null) {
                    synchronized (failures) {
                        failures.add(failure);
                    }
                    System.err.println("flink: " + job.name + ": failed: " + failure);
                }
                stop.countDown();
            });
            clients.add(client);
            System.err.println("flink: " + job.name + ": running, " + (running != null
                    ? "as before this start" : restored == null ? "from the beginning of its topics" : "from " + restored));
        }
        stop.await();
        // The last job first: it reads what the others write.
        for (int at = jobs.size() - 1; at >= 0; at--) {
            stopWithSavepoint(jobs.get(at), clients.get(at), settings);
        }
        synchronized (failures) {
            if (!failures.isEmpty()) {
                throw new IllegalStateException("a job failed", failures.get(0));
            }
        }
    }

    /** A savepoint is refused while a task of the job still starts: asks again for a minute. */
    private static void stopWithSavepoint(Job job, JobClient client, Settings settings) throws InterruptedException {
        String directory = State.directory(settings, job.name).toUri().toString();
        for (int attempt = 1;; attempt++) {
            try {
                String savepoint = client.stopWithSavepoint(false, directory, SavepointFormatType.CANONICAL).get();
                System.err.println("flink: " + job.name + ": stopped, savepoint " + savepoint);
                return;
            } catch (ExecutionException failure) {
                if (attempt == ATTEMPTS || !failure.getCause().toString().contains("not being executed")) {
                    System.err.println("flink: " + job.name + ": stopped without a savepoint; the next start continues"
                            + " from the last checkpoint: " + failure.getCause());
                    return;
                }
                Thread.sleep(1000);
            }
        }
    }
}

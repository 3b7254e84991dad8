package waypost.flink;

import java.util.List;
import java.util.Set;
import java.util.concurrent.TimeUnit;
import org.apache.flink.api.common.JobStatus;
import org.apache.flink.client.deployment.ClusterClientJobClientAdapter;
import org.apache.flink.client.deployment.StandaloneClusterId;
import org.apache.flink.client.program.rest.RestClusterClient;
import org.apache.flink.configuration.Configuration;
import org.apache.flink.core.execution.JobClient;
import org.apache.flink.runtime.client.JobStatusMessage;

/** The Flink cluster that the setting CLUSTER names, by the REST address of its job manager. */
final class Cluster {
    /** States of a job that a new submission would double. */
    private static final Set<JobStatus> ENDED = Set.of(JobStatus.FINISHED, JobStatus.CANCELED, JobStatus.FAILED);
    private static final int ANSWER_SECONDS = 60;

    private Cluster() {}

    static boolean isNamed(Settings settings) {
        return !settings.get("CLUSTER").isEmpty();
    }

    /** Makes a program submit to the cluster instead of running the job in its own process. */
    static void addTo(Configuration conf, Settings settings) throws Settings.Mistake {
        String address = settings.get("CLUSTER");
        int colon = address.lastIndexOf(':');
        if (colon < 1 || !address.substring(colon + 1).matches("\\d{1,5}")) {
            throw new Settings.Mistake("CLUSTER=" + address + ": must be HOST:PORT, the job manager's REST address");
        }
        conf.setString("execution.target", "remote");
        conf.setString("rest.address", address.substring(0, colon));
        conf.setString("rest.port", address.substring(colon + 1));
    }

    /** The job of this name that has not ended; null if there is none. A launcher that was killed leaves its jobs running. */
    static JobClient findRunning(String name, Settings settings) throws Exception {
        Configuration conf = new Configuration();
        addTo(conf, settings);
        List<JobStatusMessage> running;
        try (RestClusterClient<StandaloneClusterId> client = connect(conf)) {
            running = client.listJobs().get(ANSWER_SECONDS, TimeUnit.SECONDS).stream()
                    .filter(job -> job.getJobName().equals(name) && !ENDED.contains(job.getJobState())).toList();
        }
        if (running.isEmpty()) {
            return null;
        }
        if (running.size() > 1) {
            throw new IllegalStateException(settings.get("CLUSTER") + " runs " + running.size() + " jobs named " + name
                    + ", and each writes every row. Cancel all but one, and start again");
        }
        // The adapter closes the client of a request once it is answered, so each request needs one of its own.
        return new ClusterClientJobClientAdapter<>(
                () -> connect(conf), running.get(0).getJobId(), Cluster.class.getClassLoader());
    }

    private static RestClusterClient<StandaloneClusterId> connect(Configuration conf) {
        try {
            return new RestClusterClient<>(conf, StandaloneClusterId.getInstance());
        } catch (Exception failure) {
            throw new IllegalStateException("no client of the cluster can be made", failure);
        }
    }
}

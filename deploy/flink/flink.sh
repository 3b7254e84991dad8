#!/bin/sh
# deploy/flink/flink.sh PROGRAM [WORD...]: a program of the commission pipeline, with the jars and classes that build.sh made.
#
#   flink.sh topics PARTITIONS REPLICAS [NAME=VALUE...]    creates the topics of the pipeline, and ends
#   flink.sh ticks [NAME=VALUE...]                         writes the clock of the states
#   flink.sh run JOB... [NAME=VALUE...]                    runs jobs, here or on the cluster that CLUSTER names
#   flink.sh explain JOB... [NAME=VALUE...]                prints their plans
#   flink.sh jobmanager [-D KEY=VALUE...]                  the job manager of a cluster (deploy/flink/cluster/config.yaml)
#   flink.sh taskmanager [-D KEY=VALUE...]                 a task manager of it
#
# NAME=VALUE are the settings of settings.properties. FLINK_HOME_DIR is where build.sh wrote (default: target/flink), FLINK_JAVA
# has more flags for Java, such as -Xmx4g.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
home=${FLINK_HOME_DIR:-$here/../../target/flink}
[ -d "$home/classes" ] || { echo "flink.sh: $home has no classes; run deploy/flink/build.sh $home first" >&2; exit 1; }
[ $# -gt 0 ] || { sed -n '2,/^set -eu/s/^# \{0,1\}//p' "$0" >&2; exit 64; }
program=$1
shift
heap=-Xmx512m
case $program in
  topics) class=waypost.flink.Topics; set -- "$here" "$@" ;;
  ticks) class=waypost.flink.Ticks; set -- "$here" "$@" ;;
  run | explain) class=waypost.flink.RunSql heap=-Xmx1g; set -- "$here" "$program" "$@" ;;
  jobmanager) class=org.apache.flink.runtime.entrypoint.StandaloneSessionClusterEntrypoint; set -- --configDir "$here/cluster" "$@" ;;
  taskmanager) class=org.apache.flink.runtime.taskexecutor.TaskManagerRunner heap=-Xmx1g; set -- --configDir "$here/cluster" "$@" ;;
  *) echo "flink.sh: unknown program $program; flink.sh without words lists them" >&2; exit 64 ;;
esac
# shellcheck disable=SC2086
exec java $heap -XX:+UseSerialGC -Dlog4j2.configurationFile="$here/log4j2.properties" ${FLINK_JAVA:-} \
  -cp "$home/classes:$home/libs/*" "$class" "$@"

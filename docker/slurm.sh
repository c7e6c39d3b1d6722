#!/bin/bash
# A study over the nodes of a Slurm job:  sbatch docker/slurm.sh JOB --data-root /shared/ADEChallengeData2016
# What follows the script goes to `tuner run`. Change the lines below to what your nodes have. docs/cluster.md has the rest.
#SBATCH --job-name=tuner
#SBATCH --nodes=2
#SBATCH --ntasks-per-node=1
#SBATCH --cpus-per-task=32
#SBATCH --gpus-per-node=4
#SBATCH --mem=0
#SBATCH --exclusive
#SBATCH --time=24:00:00
#SBATCH --requeue
#SBATCH --open-mode=append
#SBATCH --signal=B:TERM@120
set -euo pipefail

why="see docs/cluster.md, Slurm"
: "${TUNER_HOME:?$why}" "${TUNER_STORAGE:?$why}" "${MLFLOW_TRACKING_URI:?$why}"
RAY_AUTH_TOKEN=$(od -A n -N 32 -t x1 /dev/urandom | tr -d ' \n')
export RAY_AUTH_MODE=token RAY_AUTH_TOKEN RAY_USAGE_STATS_ENABLED=0 RAY_SYMMETRIC_RUN_CLUSTER_WAIT_TIMEOUT=300

# The first node runs this script, Ray's head and the driver, which leaves its process id and its exit code in this folder:
# symmetric-run's own exit code is 0 where Ray has not started, and may be 1 when all is well.
read -r first < <(scontrol show hostnames "$SLURM_JOB_NODELIST")
driver=$(mktemp -d)
trap 'rm -r "$driver"' EXIT

# Before the time limit: the driver alone is told, since SIGTERM keeps symmetric-run from cleaning up. It saves its trials,
# which takes at most 30 seconds; then Slurm ends the job and queues it again, and the study goes on.
leave() {
  trap '' TERM
  if [ -e "$driver/pid" ]; then
    kill -TERM "$(<"$driver/pid")" && tail --pid="$(<"$driver/pid")" -f /dev/null
  fi
  scontrol requeue "$SLURM_JOB_ID"
}
trap leave TERM

srun --ntasks="$SLURM_JOB_NUM_NODES" --ntasks-per-node=1 --cpus-per-task="$SLURM_CPUS_PER_TASK" \
  ray symmetric-run --address="$first:6379" --min-nodes="$SLURM_JOB_NUM_NODES" \
  --num-cpus="$SLURM_CPUS_PER_TASK" -- \
  bash -c 'RAY_ADDRESS=auto tuner run "${@:2}" & echo $! >"$1/pid"; wait $!; echo $? >"$1/code"' - "$driver" "$@" &

while kill -0 $! 2>/dev/null; do
  wait $! || true # which a signal ends, too
done
exit "$(cat "$driver/code" || echo 1)"

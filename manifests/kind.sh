#!/usr/bin/env bash
# A Kubernetes cluster on this machine with Kubeflow Pipelines, to try the pipeline on.
#
#   manifests/kind.sh up | test | down
#
# `make kind-up`, `make kind-test` and `make kind-down` call it with the versions from the top of the Makefile. Needs
# docker, kind and kubectl, 4 CPUs, 12 GB of memory and 30 GB of disk. `up` first says what this machine lacks, and with
# ANYWAY=1 goes on without it. When a step fails, the pods and the last events are printed. Every step can be done again.
set -euo pipefail
cd "$(dirname "$0")/.."

: "${CLUSTER:=audiotagging}" "${KIND_NODE_IMAGE:?}" "${KIND_VERSION:?}" "${KFP_VERSION:?}" "${PYTHON:=python3}"
: "${PORT:=8080}" "${MAKE:=make}" "${ANYWAY:=}" "${PAUSE:=5}"
CPUS=4 MEMORY=11500 DISK=30000 # MB; a machine of 12 GB has a little less
# https://kind.sigs.k8s.io/docs/user/known-issues/#pod-errors-due-to-too-many-open-files
WATCHES=524288 INSTANCES=512
UNFINISHED="status.phase!=Succeeded,status.phase!=Running"
KFP="github.com/kubeflow/pipelines/manifests/kustomize"
export AUDIOTAGGING_REGISTRY="" AUDIOTAGGING_TORCH=cpu BUILDX_NO_DEFAULT_ATTESTATIONS=1

kubectl=(kubectl --context "kind-$CLUSTER")
kubeflow=("${kubectl[@]}" --namespace kubeflow)
step_name=start
forward=""
work=$(mktemp -d)

step() {
    step_name=$*
    echo "== $step_name"
}

explain() {
    status=$?
    [ -z "$forward" ] || kill "$forward" 2>/dev/null || true
    rm -rf "$work"
    [ "$status" -ne 0 ] || return 0
    echo "== failed: $step_name (exit code $status)"
    kind get clusters 2>/dev/null | grep --quiet --line-regexp "$CLUSTER" || exit "$status"
    {
        "${kubectl[@]}" get nodes --output wide
        "${kubectl[@]}" get pods --all-namespaces --output wide
        "${kubectl[@]}" get events --all-namespaces --sort-by .lastTimestamp | tail -n 40
        "${kubeflow[@]}" get pvc,jobs,workflows
        for namespace in kubeflow audiotagging; do
            here=("${kubectl[@]}" --namespace "$namespace")
            for pod in $("${here[@]}" get pods --field-selector "$UNFINISHED" --output name); do
                "${here[@]}" describe "$pod" | tail -n 30
                "${here[@]}" logs "$pod" --all-containers --tail 30
            done
        done
    } 2>&1 || true
    exit "$status"
}
trap explain EXIT

# Prints what is missing, and what to do about it.
lacks() {
    echo "missing: $1" >&2
    echo "     ->  $2" >&2
    lacking=$((lacking + 1))
}

need() {
    command -v "$1" >/dev/null || lacks "$1, which is not installed" "$2"
}

# Tries a command again and again until it succeeds: retry SECONDS COMMAND...
retry() {
    local end=$((SECONDS + $1))
    shift
    until "$@"; do
        [ "$SECONDS" -lt "$end" ] || { echo "gave up on: $*" >&2; return 1; }
        sleep "$PAUSE"
    done
}

run_pipeline() {
    "$PYTHON" pipeline.py "$1" --host "http://localhost:$PORT" "${@:2}"
}

port_in_use() {
    (: <"/dev/tcp/127.0.0.1/$PORT") 2>/dev/null
}

# Looks for everything for which a later step would fail, in seconds.
check_machine() {
    local architecture cpus memory root free watches instances client node
    read -r architecture cpus memory root < <(
        docker info --format '{{.Architecture}} {{.NCPU}} {{.MemTotal}} {{.DockerRootDir}}'
    ) || { echo "Docker's engine does not answer: start it (\`docker info\` must work)" >&2; exit 2; }
    memory=$((memory / 1000000))
    case $architecture in
        x86_64 | amd64) ;;
        *) lacks "images for $architecture: Kubeflow publishes its images for amd64 alone" \
            "use a machine with amd64, or a Docker engine that emulates it (kubeflow/pipelines issues 10309, 13957)" ;;
    esac
    [ "$cpus" -ge $CPUS ] || lacks "$CPUS CPUs, found $cpus" "give Docker more CPUs"
    [ "$memory" -ge $MEMORY ] || lacks "12 GB of memory, found $memory MB" "give Docker more memory"
    if free=$(df -Pk "$root" 2>/dev/null | awk 'NR == 2 { print int($4 * 1.024 / 1000) }') && [ -n "$free" ]; then
        [ "$free" -ge $DISK ] || lacks "30 GB of disk in $root, found $free MB" "docker system prune, or a larger disk"
    else
        echo "not seen: how much disk is free, because $root is on another machine; 30 GB are needed"
    fi
    if watches=$(sysctl -n fs.inotify.max_user_watches 2>/dev/null) &&
        instances=$(sysctl -n fs.inotify.max_user_instances 2>/dev/null); then
        [ "$watches" -ge $WATCHES ] && [ "$instances" -ge $INSTANCES ] ||
            lacks "inotify limits of $WATCHES watches and $INSTANCES instances, found $watches and $instances" \
                "sudo sysctl fs.inotify.max_user_watches=$WATCHES fs.inotify.max_user_instances=$INSTANCES"
    else
        echo "not seen: the limits of inotify, because Docker's engine is on another machine"
    fi
    ! port_in_use || lacks "port $PORT for kind-test: another program uses it" "stop that, or choose another with PORT=$((PORT + 1))"
    kind version | grep --quiet --fixed-strings "v$KIND_VERSION " ||
        echo "expected kind v$KIND_VERSION, found $(kind version); using it anyway"
    node=${KIND_NODE_IMAGE#*:v1.}
    node=${node%%.*}
    client=$(kubectl version --client --output yaml | sed -n 's/.*minor: "\{0,1\}\([0-9]*\).*/\1/p')
    if [ -z "$client" ] || [ "$client" -lt $((node - 1)) ] || [ "$client" -gt $((node + 1)) ]; then
        echo "expected kubectl 1.$((node - 1)) to 1.$((node + 1)) for Kubernetes 1.$node, found 1.${client:-?}; using it anyway"
    fi
    [ "$lacking" -eq 0 ] || [ -n "$ANYWAY" ] || { echo "nothing was made; ANYWAY=1 goes on nevertheless" >&2; exit 2; }
}

up() {
    step "1. this machine and its tools"
    lacking=0
    need git "https://git-scm.com"
    need docker "https://docs.docker.com/engine/install"
    need kind "https://kind.sigs.k8s.io (v$KIND_VERSION)"
    need kubectl "https://kubernetes.io/docs/tasks/tools"
    [ "$lacking" -eq 0 ] || exit 2
    check_machine

    step "2. cluster $CLUSTER ($KIND_NODE_IMAGE)"
    if ! kind get clusters 2>/dev/null | grep --quiet --line-regexp "$CLUSTER"; then
        kind create cluster --name "$CLUSTER" --image "$KIND_NODE_IMAGE" --config manifests/kind.yaml --wait 5m
    fi

    step "3. Kubeflow Pipelines $KFP_VERSION"
    # Kubeflow's manifests name other repositories, for which kustomize waits 27 s, whatever the address says.
    retry 600 "${kubectl[@]}" apply --kustomize "$KFP/cluster-scoped-resources?timeout=300s&ref=$KFP_VERSION"
    "${kubectl[@]}" wait crd/applications.app.k8s.io --for condition=established --timeout 60s
    retry 600 "${kubectl[@]}" apply --kustomize "$KFP/env/platform-agnostic?timeout=300s&ref=$KFP_VERSION"

    step "4. images"
    "$MAKE" image-data image-training image-results image-tagging image-client
    for target in data training results tagging client; do
        docker save "$("$PYTHON" components/images.py "$target")" --output "$work/$target.tar"
        kind load image-archive "$work/$target.tar" --name "$CLUSTER"
        rm "$work/$target.tar"
    done

    step "5. wait for Kubeflow Pipelines"
    "${kubeflow[@]}" wait deployment --all --for condition=Available --timeout 20m

    step "6. volumes, access, quota"
    # A job cannot be changed; a new one does the same again.
    "${kubeflow[@]}" delete job audiotagging-volumes --ignore-not-found
    "${kubectl[@]}" delete job schedule --namespace audiotagging --ignore-not-found
    "$MAKE" --no-print-directory --silent manifests OVERLAY=kind >"$work/manifests.yaml"
    "${kubectl[@]}" apply --filename "$work/manifests.yaml"
    "${kubectl[@]}" label --overwrite namespace kubeflow pod-security.kubernetes.io/enforce=restricted
    "${kubeflow[@]}" wait job/audiotagging-volumes --for condition=Complete --timeout 5m

    step "ready: kubectl --context kind-$CLUSTER --namespace kubeflow port-forward svc/ml-pipeline-ui 8080:80"
    "${kubeflow[@]}" get pods
}

# Forwards a port until it is told to stop; kubectl itself stops when a connection breaks.
keep_forwarding() {
    local child=""
    trap 'kill "$child"; exit' TERM
    while true; do
        "${kubeflow[@]}" port-forward svc/ml-pipeline-ui "$PORT:80" &
        child=$!
        wait "$child" || sleep 1
    done
}

healthy() {
    "$PYTHON" - "$PORT" <<'END'
import sys, urllib.request
try:
    urllib.request.urlopen(f"http://localhost:{sys.argv[1]}/apis/v2beta1/healthz", timeout=5)
except OSError as error:
    sys.exit(f"not yet: {error}")
END
}

gpus_allocatable() {
    [ "$("${kubectl[@]}" get nodes --output 'jsonpath={.items[0].status.allocatable.nvidia\.com/gpu}')" = 2 ]
}

scheduled_runs() {
    "${kubeflow[@]}" get workflows --no-headers --output name \
        --selector scheduledworkflows.kubeflow.org/isOwnedByScheduledWorkflow=true | grep --quiet workflow
}

test_cluster() {
    step "1. two GPUs that are not there, for the scheduler to hand out"
    node=$("${kubectl[@]}" get nodes --output 'jsonpath={.items[0].metadata.name}')
    "${kubectl[@]}" patch node "$node" --subresource status --type json \
        --patch '[{"op": "add", "path": "/status/capacity/nvidia.com~1gpu", "value": "2"}]'
    retry 120 gpus_allocatable

    step "2. demo data on the audio volume"
    PYTHONPATH=src "$PYTHON" -m audiotagging.demo "$work/demo"
    chmod -R a+rX "$work/demo"
    "${kubectl[@]}" apply --filename manifests/loader.yaml
    "${kubeflow[@]}" wait pod/audiotagging-loader --for condition=Ready --timeout 5m
    "${kubeflow[@]}" exec audiotagging-loader -- rm -rf /audio/demo
    "${kubeflow[@]}" cp "$work/demo" audiotagging-loader:/audio/demo

    step "3. Kubeflow's page on port $PORT"
    ! port_in_use || { echo "another program uses port $PORT: stop that, or choose another with PORT=$((PORT + 1))" >&2; exit 2; }
    keep_forwarding >"$work/forward.log" 2>&1 &
    forward=$!
    retry 120 healthy

    # Another seed than ever before, so that nothing of an earlier test is in the cache.
    options=(--data demo --seed "$(date +%s)" --gpus 1 --torch cpu --small --set epochs=1 epoch_size=5)
    step "4. a run: six members, two at a time"
    run_pipeline submit "${options[@]}" --wait | tee "$work/first.log"
    grep --quiet "^lwlrap of the ensemble: all [01]\.[0-9]" "$work/first.log"
    [ "$(grep --count " train .* done" "$work/first.log")" -eq 6 ]

    step "5. the same again: nothing to do"
    run_pipeline submit "${options[@]}" --wait | tee "$work/second.log"
    [ "$(grep --count " train .* unchanged, taken from the cache" "$work/second.log")" -eq 6 ]

    step "6. a run every minute, until one has come; it outlives that the schedule is changed"
    run_pipeline schedule --name kind-test --every 1m "${options[@]}"
    retry 300 scheduled_runs
    run_pipeline schedule --name kind-test --every 1d "${options[@]}" | tee "$work/changed.log"
    grep --quiet "the previous schedule is paused" "$work/changed.log"
    scheduled_runs
    run_pipeline schedule --name kind-test --delete --stop

    step "7. the schedule that the cluster makes for itself"
    "${kubectl[@]}" patch job schedule --namespace audiotagging --type merge --patch '{"spec": {"suspend": false}}'
    "${kubectl[@]}" wait job/schedule --namespace audiotagging --for condition=Complete --timeout 5m
    run_pipeline schedule --list | grep "^weekly: 0 0 3 \* \* 0, on"
    run_pipeline schedule --name weekly --delete

    step "all is well"
}

down() {
    step "delete cluster $CLUSTER"
    kind delete cluster --name "$CLUSTER"
}

case "${1:-}" in
    up) up ;;
    test) test_cluster ;;
    down) down ;;
    *) echo "usage: $0 up | test | down" >&2; exit 2 ;;
esac

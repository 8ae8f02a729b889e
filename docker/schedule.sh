#!/bin/sh
# Runs `perps run` again and again, one at a time; the container's main program.
#   schedule.sh            until it is told to end (SIGTERM): the run at work ends in order, no other begins
#   schedule.sh healthy    exit code 0 when a run has succeeded within the last PERPS_UNHEALTHY_AFTER intervals
# A run that fails is logged and the next one tried: what it could not load is asked for again. The first run of a UTC day asks
# for gaps again (--repair) and writes the report into $PERPS_HOME/reports; the others write none.
set -u

home=${PERPS_HOME:-/var/lib/perps}
interval=${PERPS_INTERVAL_SECONDS:-60}
patience=${PERPS_UNHEALTHY_AFTER:-10}
instruments=${PERPS_INSTRUMENTS:-BTC-PERPETUAL,ETH-PERPETUAL}
succeeded=$home/schedule.succeeded # when the last run succeeded, in seconds since 1970
repaired=$home/schedule.repaired   # the UTC day of the last run with --repair
child=
stopping=

say() {
    echo "$(date -u +%Y-%m-%dT%H:%M:%SZ) schedule: $*"
}

whole_number() {
    case $2 in
        '' | 0* | *[!0-9]*)
            echo "error: expected a whole number above 0 in $1, got '$2'; correct it in docker/.env" >&2
            exit 2
            ;;
    esac
}

healthy() {
    last=$(cat "$succeeded" 2>/dev/null) || last=
    if [ -z "$last" ]; then
        echo "expected a run that succeeded, got none yet; look at the log" >&2
        exit 1
    fi
    age=$(($(date +%s) - last))
    if [ "$age" -gt $((interval * patience)) ]; then
        echo "expected a run that succeeded within $((interval * patience)) s, got one $age s ago; look at the log" >&2
        exit 1
    fi
    echo "the last run that succeeded ended $age s ago"
}

stop() {
    stopping=yes
    [ -z "$child" ] || tell
}

# After a second: what is sent to a child that has not yet become perps is taken by this script's own trap in it, and lost.
tell() {
    sleep 1 9>&-
    kill -TERM "$child" 2>/dev/null
}

# A signal ends the waiting, not the child: waits until the child is gone, and leaves its exit code in $code.
await() {
    while :; do
        wait "$child"
        code=$?
        kill -0 "$child" 2>/dev/null || break
    done
    child=
}

run_once() {
    today=$(date -u +%Y-%m-%d)
    [ -z "$stopping" ] || return 0
    set -- run --instruments "$instruments" --out "$home/reports"
    if [ "$(cat "$repaired" 2>/dev/null)" = "$today" ]; then
        set -- "$@" --no-report
    else
        # once a day, whatever comes of it: repairing at every run would ask for the same gaps every minute
        echo "$today" >"$repaired"
        set -- "$@" --repair
    fi
    perps "$@" &
    child=$!
    [ -z "$stopping" ] || tell
    await
    if [ "$code" -eq 0 ]; then
        # whole or not at all: healthy may read it at any time
        date +%s >"$succeeded.new" && mv "$succeeded.new" "$succeeded"
    elif [ -z "$stopping" ]; then
        say "perps run failed with exit code $code; the next one asks again for what is missing"
    fi
}

# Second by second: a signal is obeyed between two of them, and no child has to be told.
pause() {
    while [ -z "$stopping" ] && [ "$(date +%s)" -lt $((began + interval)) ]; do
        # without the lock: what sleeps is no run
        sleep 1 9>&-
    done
}

whole_number PERPS_INTERVAL_SECONDS "$interval"
whole_number PERPS_UNHEALTHY_AFTER "$patience"
case ${1-} in
    '') ;;
    healthy)
        healthy
        exit 0
        ;;
    *)
        echo "error: expected no argument or 'healthy', got '$1'" >&2
        exit 2
        ;;
esac

trap stop TERM INT
mkdir -p "$home/reports" || exit 1
# the lock is inherited by perps: should this script alone be killed, no second schedule begins beside the run at work
exec 9>"$home/schedule.lock"
if ! flock --nonblock 9; then
    echo "error: expected to be the only schedule in $home, found another at work; stop it first" >&2
    exit 1
fi
say "every $interval s: $instruments"
while [ -z "$stopping" ]; do
    began=$(date +%s)
    run_once
    pause
done
say "ended as told"

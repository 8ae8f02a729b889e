#!/bin/sh
# Runs `perps run` again and again, one at a time; the container's main program.
#   schedule.sh            run until SIGTERM: the current run ends cleanly, and no other run starts
#   schedule.sh healthy    exit with 0 if a run has succeeded within the last PERPS_UNHEALTHY_AFTER intervals
# A failed run is logged, and the next run fetches what it could not load. The first run of each UTC day also fetches gaps (--repair)
# and writes the report into $PERPS_HOME/reports; the others write no report.
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
        echo "no run has succeeded yet; see the log" >&2
        exit 1
    fi
    age=$(($(date +%s) - last))
    if [ "$age" -gt $((interval * patience)) ]; then
        echo "no run has succeeded within $((interval * patience)) s, the last one was $age s ago; see the log" >&2
        exit 1
    fi
    echo "the last successful run ended $age s ago"
}

stop() {
    stopping=yes
    [ -z "$child" ] || tell
}

# Waits a second first: until the child has become perps, this script's trap in the child would catch the signal and lose it.
tell() {
    sleep 1 9>&-
    kill -TERM "$child" 2>/dev/null
}

# Waits until the child has ended, because a signal interrupts `wait` but does not end the child; sets $code to its exit code.
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
        # once a day, even if it fails: repairing in every run would fetch the same gaps every minute
        echo "$today" >"$repaired"
        set -- "$@" --repair
    fi
    perps "$@" &
    child=$!
    [ -z "$stopping" ] || tell
    await
    if [ "$code" -eq 0 ]; then
        # replaced atomically, because healthy may read it at any time
        date +%s >"$succeeded.new" && mv "$succeeded.new" "$succeeded"
    elif [ -z "$stopping" ]; then
        say "perps run failed with exit code $code; the next run fetches what is missing"
    fi
}

# Sleeps one second at a time, so that a signal takes effect between two sleeps without a child to end.
pause() {
    while [ -z "$stopping" ] && [ "$(date +%s)" -lt $((began + interval)) ]; do
        # without the lock, because sleep is not a run
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
# perps inherits the lock: if only this script is killed, no second schedule starts while the run continues
exec 9>"$home/schedule.lock"
if ! flock --nonblock 9; then
    echo "error: another schedule is running in $home; stop it first" >&2
    exit 1
fi
say "every $interval s: $instruments"
while [ -z "$stopping" ]; do
    began=$(date +%s)
    run_once
    pause
done
say "stopped"

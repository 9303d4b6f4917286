#!/bin/sh
# A runner for tests: does what model files say instead of running them, see the fixture `scripted`.
# A stretch of less than a second is over after one round.
# Like all runners it detaches, and makes one run of a start that is told twice.
set -eu
if [ "$1" = --version ]; then
  echo 1.0
  exit
fi
if [ "$1" != --detached ]; then
  mkdir "$1/begun" 2>/dev/null || exit 0
  setsid sh "$0" --detached "$@" </dev/null >"$1/log" 2>&1 &
  echo $! >"$1/pid"
  exit
fi
cd "$2"
exec 3>>result
printf 'hwnas-result 1 %s\nruntime 1.0\n' "$3" >&3
rounds=$(sed -n 's/^rounds //p' job)
! grep -q '^seconds 0' job || rounds=1
round=0 visits=0
while [ "$round" -lt "$rounds" ]; do
  while read -r key number file; do
    [ "$key" = model ] || continue
    echo "at $number" >&3
    read -r what value <"$file" || :
    case $what in
    takes) printf 'visit %d %d %d.%04d 0.100000 0\n' "$round" "$number" "$value" "$visits" >&3
      visits=$((visits + 1)) ;;
    refuse) [ "$round" -gt 0 ] || echo "failed $number $value" >&3 ;;
    die) echo "it was too much" && kill -"$value" $$ ;;
    wait) for _ in $(seq 300); do sleep 0.1; done ;;
    esac
  done <job
  round=$((round + 1))
done
echo "end $visits" >&3

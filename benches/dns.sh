#!/usr/bin/env bash
# Answers by UDP of a provider that has their names, beside other people's servers, in one run: server on core 0, load from core 1.
#
#   BENCH=FOLDER benches/dns.sh [-r ROUNDS] [-s SERVERS] [-t TESTS]   medians of ROUNDS (3) interleaved rounds as a Markdown table
#
# SERVERS: what servers.sh in BENCH can start ("echo-mmsg knot dnsdist-mmsg unbound-cache"; also hickory and iroh-dns). The provider comes last.
# TESTS, one slice of SECONDS (1) each:
#   zipf   four sockets with 32 questions under way each     hot    the same, one name          many  128 sockets with one question under way each
#   open   20,000 questions a second, whatever comes back    ping   one question under way      half  every second question is for a name that is not there
#   change as zipf, while 1,000 names a second get another address; counts what is stale 0 and 50 ms after the provider took it
#   cold   names that nothing was asked of yet, one question under way, against the same of a server in SERVERS
#   all    every name once, in no order (NAMES=1000000: a million answers kept, and what memory that takes)
# The last four are of the provider alone (cold: of an echo too). And over four kept connections, of dnsdist and of `dialtone dns`:
#   dot    100 questions under way, over TLS, asked by dnsperf
#   doh    the same over HTTP/2 by GET, asked by h2load (dnsperf stalls), and of unbound too; only statuses are checked, each server's first answer is looked at
#
# BENCH is the folder of the load generators: lib.sh, servers.sh and genq.py (questions: Zipf, s = 1, 70% A) and udpload/; what they need they
# say and install (gcc, python3, knot, dnsdist, unbound; for dot also dnsperf, for doh nghttp2-client). NAMES (10,000) names are published anew in each run, with an A and an AAAA record each.
# BUILT=1: use the programs that there are. SETTINGS: more lines for the provider's file.
set -eu
cd "$(dirname "$0")/.."
[ -r "${BENCH:-}/servers.sh" ] || { sed -n '2,/^set/{s/^# \{0,1\}//p}' "$0" >&2; exit 2; }
servers="echo-mmsg knot dnsdist-mmsg unbound-cache" tests=zipf rounds=3 seconds=${SECONDS_EACH:-1}
while getopts r:s:t: option; do
    case $option in
        r) rounds=$OPTARG ;;
        s) servers=$OPTARG ;;
        t) tests=$OPTARG ;;
        *) exit 2 ;;
    esac
done
if [ -z "${BUILT:-}" ]; then
    cargo build --release --quiet
    cargo bench --bench load --no-run
fi
here=$PWD names=${NAMES:-10000}
load=$(ls -t target/release/deps/load-* | grep -v '\.d$' | head -1)
export BENCH_NAMES=10000
. "$BENCH/lib.sh"
. "$BENCH/servers.sh"
set +eu
work=$(mktemp -d)
trap 'cleanup; rm -rf "$work"' EXIT
PKR=$WORK/bin/pkrelay-bench
build_tools
[ -x "$PKR" ] || build_rust pkrelay pkrelay-bench
make_data
rows=$work/rows
declare -A at pids questions hot flags

# A provider on one core has one thread that answers.
dialtone() {
    cat >"$work/provider.toml" <<C
data = "$work/data"
[http]
listen = ["127.0.0.1:24380"]
[dns]
listen = ["127.0.0.1:24353"]
[peering]
listen = "127.0.0.1:24381"
${SETTINGS:-}
C
    TOKIO_WORKER_THREADS=1 taskset -c 0 "${DIALTONE:-target/release/dialtone}" provider --config "$work/provider.toml" >"$work/dialtone.log" 2>&1 &
    KEEP+=($!)
    at[dialtone]=127.0.0.1:24353 pids[dialtone]=$! flags[dialtone]=
    for _ in $(seq 100); do (exec 3<>/dev/tcp/127.0.0.1/24380) 2>/dev/null && break; sleep 0.1; done
    taskset -c 1 "$load" flat 127.0.0.1:24380 0 "$names" >"$work/names" || { cat "$work/dialtone.log" >&2; exit 1; }
    python3 "$BENCH/genq.py" "$work/names" dialtone.alt "$work/q"
    questions[dialtone]=$work/q/zipf.q hot[dialtone]=$work/q/hot.q
    # A name that is not there looks like one that is.
    awk '{ print; if (NF) { name = $1; first = substr(name, 1, 1); sub(/^./, first == "y" ? "b" : "y", name); print name, $2 } }' "$work/q/zipf.q" >"$work/q/half.q"
    grep ' A$' "$work/q/all.q" | shuf --random-source="$work/names" >"$work/q/each.q"
    # Asked again in another order than they were kept in.
    tac "$work/names" >"$work/other"
    shuf --random-source="$work/other" "$work/q/each.q" >"$work/q/again.q"
}
# dnsdist and a frontend of one's own with TLS and HTTPS and the same certificate; both have everything in their caches before they are measured.
encrypted() {
    openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 9 -subj /CN=localhost -keyout "$work/key" -out "$work/certificate" 2>/dev/null
    dnsdist_with() { # of servers.sh, and two listeners more
        conf dnsdist-tls <<C
setACL('127.0.0.0/8')
setSecurityPollSuffix('')
addTLSLocal('127.0.0.1:24853', '$work/certificate', '$work/key')
addDOHLocal('127.0.0.1:24443', '$work/certificate', '$work/key', '/dns-query')
newServer({address='127.0.0.1:$BACKEND', sockets=2}):setUp()
pc = newPacketCache(100000, {maxTTL=86400, numberOfShards=20})
getPool(''):setCache(pc)
C
        background KEEP 0 dnsdist-tls dnsdist --supervised --disable-syslog -C "$WORK/srv/dnsdist-tls/conf"
    }
    [ "${backend:-}" ] || { start_backend; backend=1; }
    dnsdist_with
    pids[dnsdist-tls]=${KEEP[-1]}
    cat >"$work/dns.toml" <<C
listen = ["127.0.0.1:25353"]
tls = ["127.0.0.1:25853"]
https = ["127.0.0.1:25443"]
certificate = "$work/certificate"
certificate_key = "$work/key"
providers = ["http://127.0.0.1:24380"]
state = "$work/state"
C
    TOKIO_WORKER_THREADS=1 taskset -c 0 "${DIALTONE:-target/release/dialtone}" dns --config "$work/dns.toml" >"$work/dialtone-dns.log" 2>&1 &
    KEEP+=($!)
    pids[dialtone-tls]=$!
    conf unbound-https <<C
server:
    interface: 127.0.0.1@26443
    https-port: 26443
    tls-service-key: "$work/key"
    tls-service-pem: "$work/certificate"
    http-max-streams: 100
    num-threads: 1
    username: ""
    chroot: ""
    directory: "$WORK/srv/unbound-https"
    pidfile: "$WORK/srv/unbound-https/pid"
    use-syslog: no
    do-daemonize: no
    module-config: "iterator"
    do-not-query-localhost: no
    msg-cache-size: 64m
    rrset-cache-size: 128m
    minimal-responses: yes
remote-control:
    control-enable: no
forward-zone:
    name: "$ORIGIN"
    forward-addr: 127.0.0.1@$BACKEND
C
    background KEEP 0 unbound-https unbound -d -c "$WORK/srv/unbound-https/conf"
    pids[unbound-tls]=${KEEP[-1]}
    sleep 1
    case " $tests " in *" dot "*)
        warm dnsdist-tls 24 "$WORK/data/all.q"
        warm dialtone-tls 25 "$work/q/all.q"
        ;;
    esac
    case " $tests " in *" doh "*)
        for server in "24 $WORK/data $work/theirs" "26 $WORK/data $work/theirs" "25 $work/q $work/ours"; do
            set -- $server
            urls "https://127.0.0.1:$1""443" "$2/zipf.q" >"$3-$1"
            urls "https://127.0.0.1:$1""443" "$2/all.q" >"$3-all"
            curl -sk "$(head -1 "$3-all")" | od -An -tx1 | head -3 >&2
            taskset -c 1 h2load -c 1 -m 50 -n "$(wc -l <"$3-all")" -i "$3-all" | grep -E '^(finished|status)' >&2
        done
        ;;
    esac
}
# Questions as RFC 8484 has them asked by GET.
urls() {
    python3 - "$@" <<'P'
import base64, sys
kinds = {"A": 1, "AAAA": 28}
for line in open(sys.argv[2]):
    name, kind = line.split()
    labels = b"".join(bytes([len(l)]) + l.encode() for l in name.rstrip(".").split("."))
    query = b"\0\0\1\0\0\1\0\0\0\0\0\0" + labels + b"\0" + kinds[kind].to_bytes(2, "big") + b"\0\1"
    print(sys.argv[1] + "/dns-query?dns=" + base64.urlsafe_b64encode(query).rstrip(b"=").decode())
P
}
over_http() { # server urls
    local a b out
    a=$(cpu "$1")
    out=$(taskset -c 1 h2load -c 4 -t 1 -m 25 -D $((seconds + 1)) -i "$2" 2>&1)
    b=$(cpu "$1")
    awk -v server="$1" -v ns="$((b - a))" -v t="$((seconds + 1))" '
        /^finished in/ { qps = $4 } /^requests:/ { n = $8; failed = $10 + $12 } /^status codes:/ { good = $3 }
        /^time for request:/ { mean = $6; mean = mean ~ /us$/ ? mean + 0 : mean ~ /ms$/ ? mean * 1e3 : mean * 1e6 }
        END { printf "%s doh qps=%.0f n=%d meanus=%.1f lost=%d bad=%d srvcpu=%.2f srvns=%.0f\n", server, qps, n, mean, failed, (n > good ? n - good : 0), ns / 1e9 / t, ns / n }' <<<"$out" | tee -a "$rows" >&2
}
warm() { taskset -c 1 dnsperf -m dot -s 127.0.0.1 -p "$2853" -d "$3" -n 1 -l 30 -c 4 -T 1 -q 100 -O suppress=timeout >"$work/warm-$1" 2>&1; grep -E 'completed|lost|Response codes' "$work/warm-$1" >&2; }
cpu() { cat "/proc/${pids[$1]}"/task/*/schedstat | awk '{ t += $1 } END { printf "%.0f", t }'; }
secure() { # server ports questions mode port
    local a b out
    a=$(cpu "$1")
    out=$(taskset -c 1 dnsperf -m "$4" -O doh-uri=https://localhost/dns-query -s 127.0.0.1 -p "$2$5" -d "$3" -l $((seconds + 1)) -c 4 -T 1 -q 100 2>&1)
    b=$(cpu "$1")
    awk -v server="$1" -v test="$4" -v ns="$((b - a))" '
        /Queries completed/ { n = $3 } /Queries lost/ { lost = $3 } /Run time/ { t = $4 } /Queries per second/ { qps = $4 }
        /Average Latency/ { mean = $4 * 1e6 } /Response codes/ { split($0, r, "NOERROR "); good = r[2] + 0 }
        END { printf "%s %s qps=%.0f n=%d meanus=%.1f lost=%d bad=%d srvcpu=%.2f srvns=%.0f\n", server, test, qps, n, mean, lost, n - good, ns / 1e9 / t, ns / n }' <<<"$out" | tee -a "$rows" >&2
}
port=15353
for server in $servers; do
    "start_$server" $port 1 0
    at[$server]=127.0.0.1:$port questions[$server]=$WORK/data/zipf.q hot[$server]=$WORK/data/hot.q flags[$server]=
    case $server in
        echo-*) flags[$server]=-E ;;
        # Its names are published anew too, so that they are there whatever became of an earlier run.
        iroh-dns) sleep 1; "$PKR" put 127.0.0.1:$IROH_HTTP "$BENCH_NAMES" 32 >&2; sleep 1.5 ;;
        knot | dnsdist* | unbound-cache | kresd-cache) [ "${backend:-}" ] || { start_backend; backend=1; } ;;
    esac
    ready "${at[$server]}" ${flags[$server]} || { say "$server does not answer, see $WORK/out"; exit 1; }
    [ -n "${flags[$server]}" ] || "$LOAD" -s "${at[$server]}" -q "$WORK/data/all.q" -x -c 4 -w 8 -t 30 >&2
    pids[$server]=$(tree "${PIDS[@]}" | paste -sd,)
    KEEP+=("${PIDS[@]}") PIDS=()
    port=$((port + 1))
done
dialtone
case " $tests " in *" dot "* | *" doh "*) encrypted ;; esac
rss() { awk '/^VmRSS/{printf "%d", $2 / 1024}' "/proc/${pids[dialtone]}/status"; }
before=$(rss)

slice() { # server test OPTIONS...
    local server=$1 test=$2 out
    shift 2
    for _ in 1 2 3; do
        out=$(taskset -c 1 "$LOAD" -s "${at[$server]}" -p "${pids[$server]}" -W 0.3 ${flags[$server]} "$@" 2>&1 | tail -1)
        # Something else used the machine meanwhile: once more.
        awk -v l="$out" 'BEGIN { exit !(match(l, /other=[-0-9.]+/) && substr(l, RSTART + 6, RLENGTH - 6) > 0.15) }' || break
    done
    printf '%s %s %s\n' "$server" "$test" "$out" | tee -a "$rows" >&2
}
cold=0
of() { # server test
    local s=$1 n
    case $2 in
        zipf) slice "$s" zipf -q "${questions[$s]}" -c 4 -w 32 -t "$seconds" ;;
        many) slice "$s" many -q "${questions[$s]}" -c 128 -w 1 -t "$seconds" ;;
        hot) slice "$s" hot -q "${hot[$s]}" -c 4 -w 32 -t "$seconds" ;;
        open) slice "$s" open -q "${questions[$s]}" -c 4 -w 256 -r 20000 -t "$seconds" ;;
        ping) slice "$s" ping -q "${questions[$s]}" -c 1 -w 1 -t "$seconds" ;;
        *) case $2:$s in
            dot:dialtone)
                secure dnsdist-tls 24 "$WORK/data/zipf.q" dot 853
                secure dialtone-tls 25 "$work/q/zipf.q" dot 853
                ;;
            doh:dialtone)
                over_http dnsdist-tls "$work/theirs-24"
                over_http unbound-tls "$work/theirs-26"
                over_http dialtone-tls "$work/ours-25"
                ;;
            half:dialtone) slice "$s" half -q "$work/q/half.q" -c 4 -w 32 -t "$seconds" ;;
            all:dialtone)
                "$LOAD" -s "${at[$s]}" -q "$work/q/each.q" -x -c 4 -w 8 -t 60 >&2
                slice "$s" all -q "$work/q/again.q" -c 4 -w 32 -t "$seconds"
                say "resident: $before MiB before, $(rss) MiB after $(wc -l <"$work/q/each.q") names were asked for"
                ;;
            change:dialtone)
                taskset -c 1 "$load" change 127.0.0.1:24380 "${at[$s]}" 1000 $((seconds + 2)) "$names" >"$work/changed" &
                n=$!
                sleep 0.7
                slice "$s" change -q "${questions[$s]}" -c 4 -w 32 -t "$seconds"
                wait $n
                cat "$work/changed" >&2
                ;;
            cold:dialtone | cold:echo-*)
                taskset -c 1 "$load" flat 127.0.0.1:24380 $((10000000 + cold)) 2000 | awk '{ print $1 ".dialtone.alt A" }' >"$work/cold.q"
                cold=$((cold + 2000))
                slice "$s" cold -q "$work/cold.q" -x -c 1 -w 1 -t 10
                ;;
        esac ;;
    esac
}
for round in $(seq "$rounds"); do
    for test in $tests; do
        for server in $servers dialtone; do of "$server" "$test"; done
    done
done

printf '%s, Linux %s, %s, medians of %s rounds, slices of %s s\n\n' "$(date -u +%FT%RZ)" "$(uname -r)" "$(sed -n 's/^model name\s*: //p' /proc/cpuinfo | head -1)" "$rounds" "$seconds"
awk -v tests="$tests" -v servers="$servers dialtone dnsdist-tls unbound-tls dialtone-tls" '
    { key = $1 SUBSEP $2; for (i = 3; i <= NF; i++) if (split($i, kv, "=") == 2) { n[key, kv[1]]++; v[key, kv[1], n[key, kv[1]]] = kv[2] } }
    function median(key, what,   i, j, c, t, a) {
        c = n[key, what]; if (!c) return "-"
        for (i = 1; i <= c; i++) a[i] = v[key, what, i]
        for (i = 1; i <= c; i++) for (j = i + 1; j <= c; j++) if (a[j] < a[i]) { t = a[i]; a[i] = a[j]; a[j] = t }
        return c % 2 ? a[(c + 1) / 2] : (a[c / 2] + a[c / 2 + 1]) / 2
    }
    function sum(key, what,   i, t) { for (i = 1; i <= n[key, what]; i++) t += v[key, what, i]; return t + 0 }
    END {
        print "| test | server | answers/s | server ns each | above echo-mmsg, ns | its core | load core | p50 µs | p90 µs | p99 µs | lost | wrong |\n|---|---|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|"
        tn = split(tests, t, " "); sn = split(servers, s, " ")
        for (i = 1; i <= tn; i++) for (j = 1; j <= sn; j++) {
            key = s[j] SUBSEP t[i]; if (!n[key, "qps"]) continue
            ns = median(key, "srvns"); echo = median("echo-mmsg" SUBSEP t[i], "srvns")
            print "| " t[i] " | " s[j] " | " median(key, "qps") " | " ns " | " (echo == "-" ? "-" : ns - echo) " | " median(key, "srvcpu") " | " median(key, "gencpu") " | " median(key, "p50us") " | " median(key, "p90us") " | " median(key, "p99us") " | " sum(key, "lost") " | " sum(key, "bad") + sum(key, "servfail") + sum(key, "othererr") " |"
        }
    }' "$rows"

#!/bin/sh
# Installs the real peers from Debian's packages, without letting their services start.
set -eu

missing=""
for pair in prometheus:prometheus promtool:prometheus prometheus-alertmanager:prometheus-alertmanager \
    amtool:prometheus-alertmanager prometheus-node-exporter:prometheus-node-exporter; do
    command -v "${pair%%:*}" >/dev/null 2>&1 || missing="$missing ${pair#*:}"
done
[ -n "$missing" ] || exit 0

sudo=""
[ "$(id -u)" = 0 ] || sudo="sudo"
command -v apt-get >/dev/null 2>&1 || { echo "missing:$missing, and there is no apt-get to install them" >&2; exit 1; }

# Only for the time of the installation, and only if the machine has no policy of its own.
policy=/usr/sbin/policy-rc.d
if [ ! -e "$policy" ]; then
    printf '#!/bin/sh\nexit 101\n' | $sudo tee "$policy" >/dev/null
    $sudo chmod +x "$policy"
    trap '$sudo rm -f "$policy"' EXIT
fi
# A mirror that does not answer is asked again, and another installation is waited for.
patient="-o Acquire::Retries=10 -o DPkg::Lock::Timeout=600"
# shellcheck disable=SC2086
$sudo apt-get $patient update -q
# shellcheck disable=SC2086
$sudo env DEBIAN_FRONTEND=noninteractive apt-get $patient install -q -y --no-install-recommends $missing

#!/usr/bin/env bash
# Installs Mesa's software Vulkan driver (llvmpipe 25 or newer: f16 and subgroups) from Debian's backports.
# The mirror and its key are whatever this machine's own sources name; Debian 12's stock driver is too old for Dawn.
set -euo pipefail

installed=$(dpkg-query -W -f '${Version}' mesa-vulkan-drivers 2>/dev/null || true)
if [ -n "$installed" ] && dpkg --compare-versions "$installed" ge 25; then exit 0; fi

release=$(. /etc/os-release && echo "$VERSION_CODENAME")
mirror=$(apt-get indextargets --format '$(SITE)' 'Created-By: Packages' "Codename: $release" | head -n 1)
signed_by=$(grep -rhm 1 '^Signed-By:' /etc/apt/sources.list.d/debian.sources 2>/dev/null || true)
cat > /etc/apt/sources.list.d/hone-backports.sources <<SOURCES
Types: deb
URIs: $mirror
Suites: $release-backports
Components: main
$signed_by
SOURCES
apt-get update -qq
DEBIAN_FRONTEND=noninteractive apt-get install -y -qq -t "$release-backports" mesa-vulkan-drivers

#!/usr/bin/env bash
# Print where this machine gets Debian from, so that what the lab fetches comes from there too.
set -euo pipefail
apt-get indextargets --format '$(ORIGIN) $(COMPONENT) $(REPO_URI)' 'Created-By: Packages' |
    awk '$1 == "Debian" && $2 == "main" && !uri { uri = $3 }
         END { if (uri) print uri; else { print "apt knows no mirror of Debian here" >"/dev/stderr"; exit 1 } }'

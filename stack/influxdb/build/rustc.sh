#!/bin/sh
# Calls rustc for cargo, which builds libflux. libflux turns warnings into errors, and a newer rustc has new warnings.
# RUSTFLAGS do not help: cargo does not give them to build scripts. Each crate is named for the progress that is shown.
for word in "$@"; do
  [ "$before" = --crate-name ] && [ "$word" != ___ ] && echo "crate $word" >> "$TICKHOUSE_BUILD_LOG"
  before=$word
done
exec "$@" --cap-lints=warn

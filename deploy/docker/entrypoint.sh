#!/bin/sh
# Lends the models that the image was built with to the data folder, then runs the command.
set -eu

models="$KBADMIN_DATA_DIR/models"
if [ -w "$KBADMIN_DATA_DIR" ]; then
    mkdir -p "$models"
    for model in /opt/models/*; do
        link="$models/$(basename "$model")"
        # A folder that stands there was prepared on purpose.
        if [ ! -e "$link" ] || { [ -L "$link" ] && [ "$(readlink "$link")" != "$model" ]; }; then
            ln -sfn "$model" "$link"
        fi
    done
fi
exec "$@"

#!/bin/sh
# What has to be there before web and worker start: the database, the first administrator, key
# and collection, and the files that NextChat begins with.
set -eu

python manage.py setup
if [ -n "${NEXTCHAT_CODE:-}" ]; then
    # NextChat hands its files to everybody, also to those who do not know its code.
    python manage.py nextchat_files /nextchat
else
    python manage.py nextchat_files /nextchat --with-key
fi

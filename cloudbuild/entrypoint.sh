#!/bin/sh
# Dataflow starts a worker with options only, for Beam's program; Vertex AI and users name the program.
case "$1" in
  --*)
    # Beam's program keeps the files of a job in the folder that Dataflow names, installs the modules' wheel in the
    # default environment and writes to the working directory. All may belong to root, so it gets places below /tmp;
    # of an option that is given twice the last one counts.
    mkdir -p /tmp/beam && cd /tmp/beam || exit
    export PIP_TARGET=/tmp/beam/packages PYTHONPATH="/tmp/beam/packages:$PYTHONPATH"
    exec /opt/apache/beam/boot "$@" --semi_persist_dir=/tmp/beam
    ;;
  *) exec "$@" ;;
esac

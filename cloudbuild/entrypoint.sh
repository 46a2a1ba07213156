#!/bin/sh
# Dataflow starts a worker with options only, for Beam's program; Vertex AI and users name the program.
case "$1" in
  --*) exec /opt/apache/beam/boot "$@" ;;
  *) exec "$@" ;;
esac

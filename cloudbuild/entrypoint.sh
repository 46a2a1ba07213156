#!/bin/sh
# Dataflow starts a worker with options alone, which are Beam's; Vertex AI and people name the program, too.
case "$1" in
  --*) exec /opt/apache/beam/boot "$@" ;;
  *) exec "$@" ;;
esac

"""The node Deploy: a released cloud model with CANARY_TRAFFIC percent of the endpoint's traffic.

A release that was promoted or rolled back already is left as it is.
"""

from pipeline.nodes import node
from pipeline.serving import endpoint

if __name__ == "__main__":
    node.run_with_release(endpoint.deploy, __doc__)

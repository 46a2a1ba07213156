"""The node Publish: a released device model for CANARY_TRAFFIC percent of the devices on beta.

A release that was promoted or rolled back already is left as it is.
"""

from pipeline.nodes import node
from pipeline.serving import device_channel

if __name__ == "__main__":
    node.run_with_release(device_channel.publish, __doc__)

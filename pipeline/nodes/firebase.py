"""The node Firebase: a released device model as the one of FIREBASE_MODEL in Firebase ML."""

from pipeline.nodes import node
from pipeline.serving import firebase

if __name__ == "__main__":
    node.run_with_release(firebase.publish, __doc__)

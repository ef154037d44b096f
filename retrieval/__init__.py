"""What the knowledge base holds and how it is searched."""

import os

# Nothing leaves this machine that nobody asked for. onnxruntime tells its maker what it runs on,
# from the moment it is imported, and so it is by the reader of Office files as well; what fetches a
# model from a hub says what else is installed.
os.environ |= {"ORT_DISABLE_TELEMETRY": "1", "HF_HUB_DISABLE_TELEMETRY": "1"}

# numpy's products here take milliseconds. A second thread of OpenBLAS keeps its core busy for as
# long again after each of them, waiting for the next one, while searches want it.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

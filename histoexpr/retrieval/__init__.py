"""Retrieval: the one place that knows FAISS."""

from ._check import check_retriever, example_rows
from ._retriever import SpotRetriever

__all__ = ["SpotRetriever", "check_retriever", "example_rows"]

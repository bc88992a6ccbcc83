"""Retrieval: the one place that knows FAISS."""

from ._check import check_retriever
from ._retriever import SpotRetriever

__all__ = ["SpotRetriever", "check_retriever"]

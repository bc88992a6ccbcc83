"""Retrieval: the one place that knows FAISS."""

from ._retriever import SpotRetriever, check_retriever

__all__ = ["SpotRetriever", "check_retriever"]

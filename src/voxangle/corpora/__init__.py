"""Corpora: what is on disk, read as manifests and trial lists; one file a corpus."""

from voxangle.corpora.corpus import Corpus
from voxangle.corpora.registry import CORPORA, CorpusReader, corpus_folder, corpus_reader

__all__ = ["CORPORA", "Corpus", "CorpusReader", "corpus_folder", "corpus_reader"]

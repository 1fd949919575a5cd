"""The operator's documents: read, cut into chunks, indexed, found again by what a caller asks.

ingest    files -> read (in a child process) -> clean -> chunk -> embed -> store
retrieve  question -> embed + lexical -> fuse -> passages with their sources
"""

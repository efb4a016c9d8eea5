"""Teachers: what maps images to the embeddings that a student imitates, and their cache."""

from percert.training.teachers.cache import EmbeddingCache, image_key
from percert.training.teachers.teacher import NetworkTeacher, Teacher, load_teacher

__all__ = ["EmbeddingCache", "NetworkTeacher", "Teacher", "image_key", "load_teacher"]

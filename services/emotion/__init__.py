"""Emotion of text and voice."""

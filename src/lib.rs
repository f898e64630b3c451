//! pointsman: an OpenAI-compatible gateway that lets a learned router choose which model answers.

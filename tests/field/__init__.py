"""Inputs that people reported in public: the source, the right value, the whole kind."""

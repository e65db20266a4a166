"""Layer-wise merging of video-language models with their text backbones, searched and measured."""

"""Imported in a nursery, it spares its processes the draws that `quick_commands` spares a test."""

from merit_opt.evaluation import gap, stats
from merit_opt.search.spaces import space

gap.RESAMPLES = stats.RESAMPLES = 99
space.DRAWS = 20

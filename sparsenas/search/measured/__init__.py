"""Tournaments: networks compete in short trainings, and sparse codes over these measurements name further ones."""

from sparsenas.search.measured.governor import Governor
from sparsenas.search.measured.plan import Tournament
from sparsenas.search.measured.standing import Competitor, TournamentResult
from sparsenas.search.measured.tournament_search import TournamentSearch

__all__ = ["Competitor", "Governor", "Tournament", "TournamentResult", "TournamentSearch"]

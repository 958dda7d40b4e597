"""What run.py is made of: environments of the peers, processes of the measures, the record. Standard library only."""

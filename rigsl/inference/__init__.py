"""What a trained model is used for.

predictions     predictions as a table
transcript      a user's conversation in a CSV file -> a checked transcript
served          a checkpoint as a function of a DataFrame, for MLflow
learned_graph   the edges and relations that a model finds in a dialogue
graph_picture   a picture of them
"""

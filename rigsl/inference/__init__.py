"""What a trained model is used for.

average         several models that predict as one, and the folder that they are stored in
cost            parameters, and milliseconds for an utterance
predictions     predictions as a table
transcript      a user's conversation in a CSV file -> a checked transcript
served          a model or an average as a function of a DataFrame, for MLflow
learned_graph   the edges and relations that a model finds in a dialogue
graph_picture   a picture of them
"""

"""Training and evaluation of one configuration.

trainer      `Training`: one training, epoch by epoch
fit          `fit`: train to the last epoch, keep the best one
evaluation   `evaluate` and `predict`: predictions of a model and their scores
scores       weighted F1, macro F1, accuracy and confusion matrix
arithmetic   full float32, TF32 or bfloat16; deterministic operations
losses       task loss, loss with a teacher, link loss weight and class weights
teacher      `Teacher`: targets that are learned beside the labels
optimiser    Adam
checkpoint   a trained model in a folder
"""

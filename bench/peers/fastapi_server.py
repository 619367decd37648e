"""FastAPI as its tutorials have it: one picture at a time, decoded and computed in the handler.

    python -m uvicorn fastapi_server:app --port PORT --workers N --loop uvloop --http httptools --no-access-log
"""

from fastapi import FastAPI, Request

from pipeline import Pipeline

app = FastAPI()
pipeline = Pipeline()


@app.post("/classify")
async def classify(request: Request):
    return pipeline.answers([await request.body()])[0]

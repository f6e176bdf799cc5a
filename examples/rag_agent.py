"""Run a LangGraph agent that decides whether to search: retrieval is a tool that it may call.

Run it with a key in DASHSCOPE_API_KEY:            python examples/rag_agent.py
or with a small model on this machine, from a clone: python -m local_model -- python examples/rag_agent.py
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from langchain_core.documents import Document
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, ToolMessage
from langchain_core.runnables import RunnableLambda
from langchain_core.tools import BaseTool, tool
from langchain_core.vectorstores import InMemoryVectorStore, VectorStore
from langgraph.graph import START, MessagesState, StateGraph
from langgraph.prebuilt import ToolNode, tools_condition

from langchain_modelstudio import ChatModelStudio, ModelStudioEmbeddings, ModelStudioRerank

TEXTS = Path(__file__).with_name("data") / "texts"
QUESTIONS = ("Hello! My name is Ada.", "Which sea creature has more than one heart?")


def a_store() -> VectorStore:
    """Return a vector store of the texts in the folder."""
    # the native protocol embeds queries and documents differently
    store = InMemoryVectorStore(ModelStudioEmbeddings(protocol="dashscope"))
    texts = sorted(TEXTS.glob("*.txt"))
    store.add_documents([Document(path.read_text("utf-8").strip(), metadata={"source": path.name}) for path in texts])
    return store


def a_search(store: VectorStore, rerank: ModelStudioRerank) -> BaseTool:
    """Return the search tool. Its artifact is the documents with their scores."""

    @tool(response_format="content_and_artifact")
    def search(query: str) -> tuple[str, list[Document]]:
        """Search an encyclopedia of animals, food, weather and inventions. Not needed for small talk.

        Args:
            query: what to look for, as a question
        """
        found = rerank.compress_documents(store.similarity_search(query, k=8), query)
        return "\n".join(f"[{each.metadata['source']}] {each.page_content}" for each in found), [*found]

    return search


def a_graph(llm: BaseChatModel, search: BaseTool) -> Any:
    """Return a graph that alternates between model and search until the model stops calling the search."""
    model = llm.bind_tools([search])
    think = RunnableLambda(lambda state: state["messages"]) | model | (lambda message: {"messages": [message]})
    graph = StateGraph(MessagesState).add_node("think", think).add_node("tools", ToolNode([search]))
    graph.add_edge(START, "think").add_conditional_edges("think", tools_condition).add_edge("tools", "think")
    return graph.compile()


def talk(graph: Any, question: str) -> list[BaseMessage]:
    """Print the messages of one turn as they stream, and return them."""
    print(f"\nQuestion: {question}\n")
    messages: list[BaseMessage] = []
    given = {"messages": [HumanMessage(question)]}
    for part in graph.stream(given, stream_mode=["messages", "updates"], version="v2"):
        if part["type"] == "messages" and not isinstance(chunk := part["data"][0], ToolMessage):
            # thinking dim, answer plain
            if thinking := chunk.additional_kwargs.get("reasoning_content"):
                print(f"\033[2m{thinking}\033[0m", end="", flush=True)
            print(chunk.text, end="", flush=True)
            continue
        for update in part["data"].values() if part["type"] == "updates" else ():
            messages += update["messages"]
            if isinstance(update["messages"][0], ToolMessage):
                print(f"Result: {update['messages'][0].text}\n")
            elif isinstance(update["messages"][0], AIMessage):
                print("".join(f"\nCall: {call['name']}({call['args']})" for call in update["messages"][0].tool_calls))
    return messages


def main() -> None:
    """Send a message that needs no search, then a question that does."""
    llm = ChatModelStudio(model="qwen-plus", enable_thinking=True, thinking_budget=256)
    graph = a_graph(llm, a_search(a_store(), ModelStudioRerank(top_n=2)))
    for question in QUESTIONS:
        talk(graph, question)


if __name__ == "__main__":
    main()
